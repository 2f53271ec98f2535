"""WebSocket feeds: each is a YAML file that says how to connect, what a frame means, and how to resume.

schema.json: the keys of the file. presets/: the feeds that come with the project.
definition.py reads and checks a file, parser.py compiles it, request.py builds the requests.
"""

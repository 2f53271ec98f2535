"""The two Flink jobs and the pure modules they are made of; only `*_stream.py` imports pyflink."""

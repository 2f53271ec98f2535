"""The two Flink jobs and their modules. Only `*_stream.py` and `collect_function.py` import pyflink at run time."""

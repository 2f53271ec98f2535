"""A Flink job without Python: the same topic, the same windows, the same ARRAY_AGG. The upper bound of the aggregator.

No texts leave it. For each window it writes one row with the number of texts into the topic RESULTS. So one sees when a
window was done, and that no post is missing. Settings: KAFKA, TOPIC, RESULTS.
"""

import os

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

OPTIONS = {
    "pipeline.name": "sql_only",
    "table.local-time-zone": "UTC",
    "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    "pipeline.object-reuse": "true",
}
POSTS = """
CREATE TABLE posts (
  `text` STRING,
  `timestamp` BIGINT,
  `time` AS TO_TIMESTAMP_LTZ(`timestamp`, 3),
  WATERMARK FOR `time` AS `time` - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '{topic}',
  'properties.bootstrap.servers' = '{kafka}',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json'
)
"""
RESULTS = """
CREATE TABLE results (`start` STRING, `posts` INT) WITH (
  'connector' = 'kafka',
  'topic' = '{results}',
  'properties.bootstrap.servers' = '{kafka}',
  'format' = 'json'
)
"""
WINDOWS = """
INSERT INTO results
SELECT DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm:ss''Z'''), CARDINALITY(content) FROM (
  SELECT window_start, ARRAY_AGG(`text`) AS content
  FROM TABLE(TUMBLE(TABLE posts, DESCRIPTOR(`time`), INTERVAL '20' SECOND))
  WHERE `text` IS NOT NULL
  GROUP BY window_start, window_end
)
"""


def main() -> None:
    values = {"kafka": os.environ["KAFKA"], "topic": os.environ["TOPIC"], "results": os.environ["RESULTS"]}
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.enable_checkpointing(2_000)
    tables = StreamTableEnvironment.create(environment)
    for name, value in OPTIONS.items():
        tables.get_config().set(name, value)
    for statement in (POSTS, RESULTS, WINDOWS):
        tables.execute_sql(statement.format(**values))


if __name__ == "__main__":
    main()

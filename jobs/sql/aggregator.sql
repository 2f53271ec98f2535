-- The topic's records as rows. A record that is not JSON gives no row here (see `tweets_raw`). A record that is stamped
-- more than `max_ahead_ms` ahead of the clock does not advance event time: it would close all windows up to its stamp.
CREATE TABLE tweets (
  `id` STRING,
  `text` STRING,
  `timestamp` BIGINT,
  `source` STRING,
  `position` STRING,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  `read_at` AS PROCTIME(),
  `time` AS CASE WHEN `timestamp` BETWEEN 0 AND ${year_9999_ms} THEN TO_TIMESTAMP_LTZ(`timestamp`, 3) END,
  WATERMARK FOR `time` AS CASE
    WHEN `timestamp` BETWEEN 0 AND UNIX_TIMESTAMP() * 1000 + ${max_ahead_ms}
    THEN TO_TIMESTAMP_LTZ(`timestamp` - ${out_of_order_ms}, 3)
  END
) WITH (
  'connector' = 'kafka',
  'topic' = ${topic},
  ${kafka},
  ${start},
  'properties.group.id' = ${group},
  'properties.isolation.level' = 'read_committed',
  -- Shorter than the collector's interval (3 s), so that a new partition is read before posts arrive in it.
  'scan.topic-partition-discovery.interval' = '500 ms',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true'
);

-- The verdict on each record.
-- `hash` and `timestamp` are reserved words, hence the quotes.
-- A post can be added to its document until event time reaches `deadline` (ms). Then the window's state is dropped.
-- A valid post with a position comes from a collector, which writes its posts in the order of event time. So it is in
-- order while Flink's watermark is below its deadline. But a watermark is not state: after a restart it is unknown or
-- too low for a moment.
-- A heartbeat has no text and only advances event time.
-- All expressions with the clock or the watermark are one CASE: each such column would be one more pass over every
-- record, in which Flink copies its strings.
CREATE TEMPORARY VIEW placed AS
SELECT
  `id`, `text`, `timestamp`, `source`, `partition`, `offset`, `read_at`, `time`, deadline,
  CASE
    WHEN `id` IS NULL THEN 'no id'
    WHEN `source` IS NULL THEN 'no source'
    WHEN `timestamp` IS NULL THEN 'no timestamp'
    WHEN (`timestamp` BETWEEN 0 AND UNIX_TIMESTAMP() * 1000 + ${max_ahead_ms}) IS NOT TRUE
      THEN 'timestamp negative or ahead of the clock'
    WHEN `text` IS NULL THEN CASE WHEN `id` LIKE ${heartbeats} THEN 'heartbeat' ELSE 'no text' END
    WHEN CURRENT_WATERMARK(`time`) >= TO_TIMESTAMP_LTZ(deadline, 3) THEN 'late'
    WHEN `position` IS NOT NULL AND CURRENT_WATERMARK(`time`) IS NOT NULL THEN 'in order'
  END AS verdict
FROM (SELECT *, (`timestamp` / ${window_ms} + 1) * ${window_ms} - 1 + ${allowed_lateness_ms} AS deadline FROM tweets);

-- A record that is not `in order` is compared with the newest event time of its partition. This is keyed state: it
-- survives restarts, savepoints and a changed parallelism. The collector's heartbeats keep it close to the collector's
-- posts (ORDER_MARGIN_MS). The watermark is never further ahead, so no accepted post meets a window without state.
CREATE TEMPORARY VIEW compared AS
SELECT
  *,
  MAX(CASE WHEN `timestamp` BETWEEN 0 AND UNIX_TIMESTAMP() * 1000 + ${max_ahead_ms} THEN `timestamp` END) OVER (
    PARTITION BY `partition` ORDER BY `read_at` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) AS newest
FROM placed WHERE (verdict = 'in order') IS NOT TRUE;

CREATE TEMPORARY VIEW checked AS
SELECT *, CASE WHEN verdict IS NOT NULL THEN verdict WHEN newest - ${out_of_order_ms} >= deadline THEN 'late' END AS reason
FROM compared;

-- A post's bucket depends on its id alone, so it is the same in a replay. jobs/buckets.py has the keys. Flink decides the
-- CASE when it plans: a window of one bucket needs no hash. Its key is nevertheless a key, so that a savepoint fits a job
-- with other buckets.
CREATE TEMPORARY VIEW posts AS
SELECT
  `text`, `time`,
  MOD(`timestamp` / ${window_ms}, 2) AS parity,
  ARRAY[${bucket_keys}][CASE WHEN ${buckets} > 1 THEN ABS(MOD(HASH_CODE(`id`), ${buckets})) ELSE 0 END + 1] AS bucket
FROM (
  SELECT `id`, `text`, `time`, `timestamp` FROM placed WHERE verdict = 'in order' AND `timestamp` >= ${begin_ms}
  UNION ALL
  SELECT `id`, `text`, `time`, `timestamp` FROM checked WHERE reason IS NULL AND `timestamp` >= ${begin_ms}
);

-- Even and odd windows go to two operators: while Python writes one window, the next one is filled. Each operator has as
-- many tasks as the job's parallelism says, which share the buckets.
-- This is a group window and not the table function TUMBLE: only group windows fire again for late posts (`options`).
CREATE TEMPORARY VIEW windows AS
SELECT
  TUMBLE_START(`time`, INTERVAL ${window} HOUR TO SECOND) AS begins,
  TUMBLE_END(`time`, INTERVAL ${window} HOUR TO SECOND) AS ends,
  bucket,
  ARRAY_AGG(`text`) AS content
FROM posts WHERE parity = 0
GROUP BY TUMBLE(`time`, INTERVAL ${window} HOUR TO SECOND), bucket
UNION ALL
SELECT
  TUMBLE_START(`time`, INTERVAL ${window} HOUR TO SECOND),
  TUMBLE_END(`time`, INTERVAL ${window} HOUR TO SECOND),
  bucket,
  ARRAY_AGG(`text`)
FROM posts WHERE parity = 1
GROUP BY TUMBLE(`time`, INTERVAL ${window} HOUR TO SECOND), bucket;

-- Python enriches a window and writes its documents into MongoDB. A Flink sink would keep MongoDB's address and
-- password in the job graph, and could not compare with the stored documents. A checkpoint completes when all documents
-- before it are acknowledged. This table only receives the result: in Flink each insert needs a sink.
CREATE TABLE written (`documents` INT) WITH ('connector' = 'blackhole');

INSERT INTO written
SELECT write_documents(DATE_FORMAT(begins, ${iso}), DATE_FORMAT(ends, ${iso}), bucket, content) FROM windows;

-- The key names the record that is rejected: "<topic>/<partition>/<offset>".
CREATE TABLE rejected (`key` STRING, `reason` STRING, `source` STRING, `record` STRING, `bytes` INT) WITH (
  'connector' = 'kafka',
  'topic' = ${rejected_topic},
  ${kafka},
  'key.format' = 'raw',
  'key.fields' = 'key',
  'value.format' = 'json',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = ${transactions},
  'properties.transaction.timeout.ms' = ${transaction_timeout_ms}
);

-- The same topic again: a record that is not a JSON object never becomes a row of `tweets`.
CREATE TABLE tweets_raw (`record` STRING, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL) WITH (
  'connector' = 'kafka',
  'topic' = ${topic},
  ${kafka},
  ${start},
  'properties.group.id' = ${rejections_group},
  'properties.isolation.level' = 'read_committed',
  'scan.topic-partition-discovery.interval' = '500 ms',
  'format' = 'raw'
);

CREATE TEMPORARY VIEW rejected_rows AS
SELECT
  `partition`, `offset`, reason,
  JSON_OBJECT('id' VALUE `id`, 'text' VALUE `text`, 'timestamp' VALUE `timestamp`, 'source' VALUE `source`) AS `record`
FROM checked WHERE reason <> 'heartbeat'
UNION ALL
SELECT
  `partition`, `offset`,
  CASE WHEN JSON_QUERY(`record`, 'lax $$.timestamp') LIKE '[%' THEN 'timestamp is an array' ELSE 'not a JSON object' END,
  `record`
FROM tweets_raw
-- `tweets` takes a byte order mark, and control characters in a string, which JSON forbids: such a record is checked again
-- without them.
WHERE (
  (`record` IS JSON OBJECT) IS NOT TRUE
  AND (
    REGEXP_REPLACE(REGEXP_REPLACE(`record`, '^\uFEFF|[\t\n\r]', ' '), '[\x00-\x1f]', 'x') IS JSON OBJECT
  ) IS NOT TRUE
)
-- Two kinds of record give no row of `tweets` either, but are JSON objects here. A cheap search finds those that can be of
-- such a kind; only they are examined. Flink would reorder an AND: hence CASE.
-- A record that is not UTF-8: decoding replaces its wrong bytes by U+FFFD.
OR CASE WHEN SPLIT_INDEX(`record`, ${replacement}, 1) IS NULL THEN FALSE ELSE ENCODE(`record`, 'UTF-8') <> CAST(`record` AS BYTES) END
-- A record whose timestamp is an array: Flink's JSON format drops it.
OR CASE WHEN SPLIT_INDEX(`record`, '[', 1) IS NULL THEN FALSE ELSE JSON_QUERY(`record`, 'lax $$.timestamp') LIKE '[%' END;

INSERT INTO rejected
SELECT
  CONCAT_WS('/', ${topic}, CAST(`partition` AS STRING), CAST(`offset` AS STRING)),
  reason, ${topic}, SUBSTRING(`record`, 1, ${max_rejected_characters}), CHAR_LENGTH(`record`)
FROM rejected_rows;

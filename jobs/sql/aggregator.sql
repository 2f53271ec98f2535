-- The topic's records as rows. What is no JSON gives no row here: `malformed` below finds it. A record stamped further
-- ahead of the clock than is allowed has no time, since it would close all windows up to there.
CREATE TABLE tweets (
  `id` STRING,
  `text` STRING,
  `timestamp` BIGINT,
  `source` STRING,
  `position` STRING,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  `read_at` AS PROCTIME(),
  `time` AS CASE
    WHEN `timestamp` BETWEEN 0 AND UNIX_TIMESTAMP() * 1000 + ${max_ahead_ms} THEN TO_TIMESTAMP_LTZ(`timestamp`, 3)
  END,
  WATERMARK FOR `time` AS `time` - INTERVAL ${out_of_order} HOUR TO SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = ${topic},
  ${kafka},
  ${start},
  'properties.group.id' = ${group},
  'properties.isolation.level' = 'read_committed',
  -- A new partition is read before the collector's posts arrive in it (its producer asks every few seconds).
  'scan.topic-partition-discovery.interval' = '500 ms',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true'
);

-- `hash` and `timestamp` are reserved words, hence the quotes. A post can be added to its document until event time
-- reaches `deadline` (ms); then the window's state is dropped. A sound post with a position comes from a collector, which
-- writes its posts in the order of event time: while Flink's watermark is below its deadline, it is in order. But a
-- watermark is no state: it is unknown or too low for a moment after a restart. A heartbeat has no text and only advances
-- event time. `record` is what a rejection shows.
CREATE TEMPORARY VIEW placed AS
SELECT
  `text`, `time`, `timestamp`, deadline, `partition`, `offset`, `read_at`, in_order,
  CASE
    WHEN in_order THEN NULL
    WHEN `id` IS NULL THEN 'no id'
    WHEN `source` IS NULL THEN 'no source'
    WHEN `timestamp` IS NULL THEN 'no timestamp'
    WHEN `time` IS NULL THEN 'timestamp negative or ahead of the clock'
    WHEN `text` IS NULL THEN CASE WHEN `id` LIKE ${heartbeats} THEN 'heartbeat' ELSE 'no text' END
    WHEN CURRENT_WATERMARK(`time`) >= TO_TIMESTAMP_LTZ(deadline, 3) THEN 'late'
  END AS fault,
  CASE WHEN NOT in_order THEN
    JSON_OBJECT('id' VALUE `id`, 'text' VALUE `text`, 'timestamp' VALUE `timestamp`, 'source' VALUE `source`)
  END AS `record`
FROM (
  SELECT
    *,
    (`id` IS NOT NULL AND `source` IS NOT NULL AND `time` IS NOT NULL AND `text` IS NOT NULL AND `position` IS NOT NULL
      AND CURRENT_WATERMARK(`time`) < TO_TIMESTAMP_LTZ(deadline, 3)) IS TRUE AS in_order
  FROM (SELECT *, (`timestamp` / ${window_ms} + 1) * ${window_ms} - 1 + ${allowed_lateness_ms} AS deadline FROM tweets)
);

-- What is not in order is compared with the newest event time of its own partition, which is keyed state and survives
-- restarts, savepoints and a changed parallelism. The collector's heartbeats keep it close to the collector's posts
-- (ORDER_MARGIN_MS): the watermark is never further ahead, so no post meets a window without state.
CREATE TEMPORARY VIEW compared AS
SELECT
  *,
  MAX(CASE WHEN `time` IS NOT NULL THEN `timestamp` END) OVER (
    PARTITION BY `partition` ORDER BY `read_at` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) AS newest
FROM placed WHERE NOT in_order;

CREATE TEMPORARY VIEW checked AS
SELECT *, CASE WHEN fault IS NOT NULL THEN fault WHEN newest - ${out_of_order_ms} >= deadline THEN 'late' END AS reason
FROM compared;

CREATE TEMPORARY VIEW posts AS
SELECT `text`, `time` FROM placed WHERE in_order AND `timestamp` >= ${begin_ms}
UNION ALL
SELECT `text`, `time` FROM checked WHERE reason IS NULL AND `timestamp` >= ${begin_ms};

-- A group window and not TUMBLE as a table function: only group windows fire again for late posts (see `options`).
CREATE TEMPORARY VIEW windows AS
SELECT
  DATE_FORMAT(TUMBLE_START(`time`, INTERVAL ${window} HOUR TO SECOND), ${iso}) AS window_start,
  DATE_FORMAT(TUMBLE_END(`time`, INTERVAL ${window} HOUR TO SECOND), ${iso}) AS window_end,
  ARRAY_AGG(`text`) AS content
FROM posts
GROUP BY TUMBLE(`time`, INTERVAL ${window} HOUR TO SECOND);

-- Python enriches a window and writes its documents into MongoDB. A sink of Flink's would keep MongoDB's address with its
-- password in the job graph, and could not ask what is stored already. A checkpoint completes when all documents before
-- it are acknowledged. This table only ends the insert: Flink has no statement without one.
CREATE TABLE written (`documents` INT) WITH ('connector' = 'blackhole');

INSERT INTO written SELECT write_documents(window_start, window_end, content) FROM windows;

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

-- The same topic once more, since a record that is no JSON object never becomes a row of `tweets`.
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

CREATE TEMPORARY VIEW refused AS
SELECT `partition`, `offset`, reason, `record` FROM checked WHERE reason <> 'heartbeat'
UNION ALL
SELECT `partition`, `offset`, 'not a JSON object', `record` FROM tweets_raw
-- What is no UTF-8 gives no row of `tweets` either, but is a JSON object once its bytes are decoded.
WHERE (`record` IS JSON OBJECT) IS NOT TRUE OR ENCODE(`record`, 'UTF-8') <> CAST(`record` AS BYTES);

INSERT INTO rejected
SELECT
  CONCAT_WS('/', ${topic}, CAST(`partition` AS STRING), CAST(`offset` AS STRING)),
  reason, ${topic}, SUBSTRING(`record`, 1, ${max_rejected_characters}), CHAR_LENGTH(`record`)
FROM refused;

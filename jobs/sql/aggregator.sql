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
-- watermark is no state: it is unknown or too low for a moment after a restart.
CREATE TEMPORARY VIEW placed AS
SELECT
  *,
  (`id` IS NOT NULL AND `source` IS NOT NULL AND `time` IS NOT NULL AND `text` IS NOT NULL AND `position` IS NOT NULL
    AND CURRENT_WATERMARK(`time`) < TO_TIMESTAMP_LTZ(deadline, 3)) IS TRUE AS in_order
FROM (SELECT *, (`timestamp` / ${window_ms} + 1) * ${window_ms} - 1 + ${allowed_lateness_ms} AS deadline FROM tweets);

-- All other records are compared with the newest event time of their own partition, which is keyed state and survives
-- restarts, savepoints and a changed parallelism. The collector's heartbeats keep it close to the collector's posts
-- (ORDER_MARGIN_MS): the watermark is never further ahead, so no post meets a window without state. A heartbeat has no
-- text and only advances event time.
CREATE TEMPORARY VIEW compared AS
SELECT
  *,
  CASE
    WHEN `id` IS NULL THEN 'no id'
    WHEN `source` IS NULL THEN 'no source'
    WHEN `timestamp` IS NULL THEN 'no timestamp'
    WHEN `time` IS NULL THEN 'timestamp negative or ahead of the clock'
    WHEN `text` IS NULL THEN CASE WHEN `id` LIKE ${heartbeats} THEN 'heartbeat' ELSE 'no text' END
    WHEN CURRENT_WATERMARK(`time`) >= TO_TIMESTAMP_LTZ(deadline, 3) THEN 'late'
  END AS fault,
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

-- `needed_bytes` is at least what the texts need in a document: a character has at most four bytes in UTF-8, an element of a
-- BSON array a few beside its text (see chunks.py).
-- A group window and not TUMBLE as a table function: only group windows fire again for late posts (see `options`).
CREATE TEMPORARY VIEW windows AS
SELECT
  TUMBLE_START(`time`, INTERVAL ${window} HOUR TO SECOND) AS begins,
  TUMBLE_END(`time`, INTERVAL ${window} HOUR TO SECOND) AS ends,
  ARRAY_AGG(`text`) AS content,
  COUNT(*) AS posts,
  SUM(CAST(CHAR_LENGTH(`text`) AS BIGINT) * 4 + ${element_bytes}) AS needed_bytes
FROM posts
GROUP BY TUMBLE(`time`, INTERVAL ${window} HOUR TO SECOND);

CREATE TEMPORARY VIEW named AS
SELECT
  DATE_FORMAT(begins, ${iso}) AS window_start, DATE_FORMAT(ends, ${iso}) AS window_end, content, posts, needed_bytes
FROM windows;

-- The counters of the moment at which a window fires. `enrich` gives no row for a window whose stored documents hold more
-- posts already. A window is one chunk, number 0. Only one that may be too large for a document is split, in Python. The
-- condition stands inside, since the planner would call `enrich` twice for each window otherwise.
CREATE TEMPORARY VIEW chunks AS
SELECT window_start, window_end, 0 AS chunk, content, counters.*
FROM (SELECT * FROM named WHERE needed_bytes <= ${max_document_bytes}),
  LATERAL TABLE(enrich(window_start, window_end, posts, TRUE)) AS counters (
    total_cases_count, total_deaths_count, total_recovered_count, new_cases_count,
    new_deaths_count, new_recovered_count, active_cases_count, critical_cases_count
  )
UNION ALL
SELECT window_start, window_end, part.chunk, part.texts, counters.*
FROM (SELECT * FROM named WHERE needed_bytes > ${max_document_bytes}),
  LATERAL TABLE(enrich(window_start, window_end, posts, FALSE)) AS counters (
    total_cases_count, total_deaths_count, total_recovered_count, new_cases_count,
    new_deaths_count, new_recovered_count, active_cases_count, critical_cases_count
  ),
  LATERAL TABLE(split_content(window_start, window_end, content)) AS part (chunk, texts);

CREATE TABLE documents (
${document_schema}
) WITH (
  'connector' = 'mongodb',
  'uri' = ${mongodb_uri},
  'database' = ${database},
  'collection' = ${collection},
  'sink.delivery-guarantee' = 'at-least-once',
  -- A document is written as soon as its window closes.
  'sink.buffer-flush.max-rows' = '1',
  -- A writer waits for each document's acknowledgement; with two, the next one is encoded meanwhile.
  'sink.parallelism' = ${writers}
);

-- The key says which chunk of which window of which length it is: a replay replaces the document, and windows of another
-- length do not.
INSERT INTO documents
SELECT
  SHA2(CONCAT_WS('/', ${topic}, window_start, window_end, CAST(chunk AS STRING)), 256),
  content,
  window_end,
  total_cases_count,
  total_deaths_count,
  total_recovered_count,
  new_cases_count,
  new_deaths_count,
  new_recovered_count,
  active_cases_count,
  critical_cases_count
FROM chunks;

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
SELECT
  `partition`, `offset`, reason,
  JSON_OBJECT('id' VALUE `id`, 'text' VALUE `text`, 'timestamp' VALUE `timestamp`, 'source' VALUE `source`) AS `record`
FROM checked WHERE reason <> 'heartbeat'
UNION ALL
SELECT `partition`, `offset`, 'not a JSON object', `record` FROM tweets_raw
-- What is no UTF-8 gives no row of `tweets` either, but is a JSON object once its bytes are decoded.
WHERE (`record` IS JSON OBJECT) IS NOT TRUE OR ENCODE(`record`, 'UTF-8') <> CAST(`record` AS BYTES);

INSERT INTO rejected
SELECT
  CONCAT_WS('/', ${topic}, CAST(`partition` AS STRING), CAST(`offset` AS STRING)),
  reason, ${topic}, SUBSTRING(`record`, 1, ${max_rejected_characters}), CHAR_LENGTH(`record`)
FROM refused;

-- The topic's records as rows. What is no JSON gives no row here: `malformed` below finds it. A record stamped further
-- ahead of the clock than is allowed has no time, since it would close all windows up to there.
CREATE TABLE tweets (
  `id` STRING,
  `text` STRING,
  `timestamp` BIGINT,
  `source` STRING,
  `time` AS CASE
    WHEN `timestamp` BETWEEN 0 AND UNIX_TIMESTAMP() * 1000 + ${max_ahead_ms} THEN TO_TIMESTAMP_LTZ(`timestamp`, 3)
  END,
  WATERMARK FOR `time` AS `time` - INTERVAL ${out_of_order} HOUR TO SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = ${topic},
  ${kafka},
  'properties.group.id' = 'aggregator',
  'properties.isolation.level' = 'read_committed',
  -- Without state it reads all there is: a replay replaces the documents that it meets.
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true'
);

-- A heartbeat has no text and only moves event time on. A post is late when the watermark has passed the last
-- millisecond of its window: that window is closed. `hash` and `timestamp` are reserved words, hence the quotes.
CREATE TEMPORARY VIEW checked AS
SELECT *, CASE
  WHEN `id` IS NULL THEN 'no id'
  WHEN `source` IS NULL THEN 'no source'
  WHEN `timestamp` IS NULL THEN 'no timestamp'
  WHEN `time` IS NULL THEN 'timestamp negative or ahead of the clock'
  WHEN `text` IS NULL THEN CASE WHEN `id` LIKE ${heartbeats} THEN 'heartbeat' ELSE 'no text' END
  WHEN CURRENT_WATERMARK(`time`) >= TO_TIMESTAMP_LTZ((`timestamp` / ${window_ms} + 1) * ${window_ms} - 1, 3) THEN 'late'
END AS reason
FROM tweets;

CREATE TEMPORARY VIEW posts AS
SELECT `text`, `time` FROM checked WHERE reason IS NULL;

-- `needed_bytes` is at least what the texts need in a document: a character has at most four bytes in UTF-8, an element of a
-- BSON array a few beside its text (see chunks.py).
CREATE TEMPORARY VIEW windows AS
SELECT
  window_start, window_end,
  ARRAY_AGG(`text`) AS content,
  SUM(CAST(CHAR_LENGTH(`text`) AS BIGINT) * 4 + ${element_bytes}) AS needed_bytes
FROM TABLE(TUMBLE(TABLE posts, DESCRIPTOR(`time`), INTERVAL ${window} HOUR TO SECOND))
GROUP BY window_start, window_end;

-- The world's counters as they are when a window closes: one call a window.
CREATE TEMPORARY VIEW enriched AS
SELECT window_start, window_end, content, needed_bytes, world_counters(CAST(window_end AS STRING)) AS counters FROM windows;

-- A window is one chunk, number 0. Only one that may be too large for a document goes through Python and is split.
CREATE TEMPORARY VIEW chunks AS
SELECT window_start, window_end, counters, 0 AS chunk, content FROM enriched WHERE needed_bytes <= ${max_document_bytes}
UNION ALL
SELECT window_start, window_end, counters, part.chunk, part.texts
FROM enriched, LATERAL TABLE(split_content(content)) AS part (chunk, texts) WHERE needed_bytes > ${max_document_bytes};

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

-- The key says which chunk of which window it is, so that a replay replaces the document and never makes a second one.
INSERT INTO documents
SELECT
  SHA2(CONCAT(${topic}, '/', DATE_FORMAT(window_start, ${iso}), '/', CAST(chunk AS STRING)), 256),
  content,
  DATE_FORMAT(window_end, ${iso}),
  chunks.counters.total_cases_count,
  chunks.counters.total_deaths_count,
  chunks.counters.total_recovered_count,
  chunks.counters.new_cases_count,
  chunks.counters.new_deaths_count,
  chunks.counters.new_recovered_count,
  chunks.counters.active_cases_count,
  chunks.counters.critical_cases_count
FROM chunks;

CREATE TABLE rejected (`key` STRING, `reason` STRING, `source` STRING, `record` STRING, `bytes` INT) WITH (
  'connector' = 'kafka',
  'topic' = ${rejected_topic},
  ${kafka},
  'key.format' = 'raw',
  'key.fields' = 'key',
  'value.format' = 'json',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'at-least-once'
);

-- The same topic once more, since a record that is no JSON object never becomes a row of `tweets`.
CREATE TABLE tweets_raw (`record` STRING) WITH (
  'connector' = 'kafka',
  'topic' = ${topic},
  ${kafka},
  'properties.group.id' = 'aggregator-rejections',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'raw'
);

CREATE TEMPORARY VIEW refused AS
SELECT
  reason,
  JSON_OBJECT('id' VALUE `id`, 'text' VALUE `text`, 'timestamp' VALUE `timestamp`, 'source' VALUE `source`) AS `record`
FROM checked WHERE reason <> 'heartbeat'
UNION ALL
SELECT 'not a JSON object', `record` FROM tweets_raw WHERE (`record` IS JSON OBJECT) IS NOT TRUE;

INSERT INTO rejected
SELECT ${topic}, reason, ${topic}, SUBSTRING(`record`, 1, ${max_rejected_characters}), CHAR_LENGTH(`record`) FROM refused;

-- PyFlink has no source of its own: these rows, two a second for each shard, start the
-- timers that drain the WebSockets.
CREATE TABLE ticks (`shard` INT) WITH (
  'connector' = 'datagen',
  'rows-per-second' = ${ticks_per_second},
  'fields.shard.min' = '0',
  'fields.shard.max' = ${last_shard}
);

CREATE TABLE tweets (`key` STRING, `value` STRING) WITH (
  'connector' = 'kafka',
  'topic' = ${topic},
  ${kafka},
  'key.format' = 'raw',
  'key.fields' = 'key',
  'value.format' = 'raw',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = ${transactions},
  'properties.transaction.timeout.ms' = ${transaction_timeout_ms},
  -- Within seconds a new partition gets posts and heartbeats; the aggregator looks for new ones more often.
  'properties.metadata.max.age.ms' = '3000',
  'properties.linger.ms' = '5',
  'properties.batch.size' = '262144'
);

CREATE TABLE rejected WITH (
  'topic' = ${rejected_topic},
  'sink.transactional-id-prefix' = ${rejected_transactions}
) LIKE tweets (OVERWRITING OPTIONS);

-- The Python operator hands over its records in batches, as arrays: a row each would cost more than reading the socket
-- does. Each is a key, a tab and a value.
INSERT INTO tweets
SELECT SPLIT_INDEX(record, CHR(9), 0), SPLIT_INDEX(record, CHR(9), 1)
FROM batches CROSS JOIN UNNEST(batches.posts) AS collected (record);

INSERT INTO rejected
SELECT SPLIT_INDEX(record, CHR(9), 0), SPLIT_INDEX(record, CHR(9), 1)
FROM batches CROSS JOIN UNNEST(batches.rejected) AS collected (record);

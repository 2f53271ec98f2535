-- PyFlink has no Python sources. These rows, one or two per second for each shard, start the timers that emit the
-- records of the WebSocket readers. The first ones come at once.
CREATE TABLE ticks (`shard` INT) WITH (
  'connector' = 'datagen',
  'rows-per-second' = ${ticks_per_second},
  'fields.shard.min' = '0',
  'fields.shard.max' = ${last_shard}
);

-- One sink for all topics: each checkpoint has one transaction, so posts, rejections and events become visible together.
CREATE TABLE records (`key` BYTES, `value` BYTES, `topic` STRING NOT NULL METADATA) WITH (
  'connector' = 'kafka',
  'topic' = ${topics},
  ${kafka},
  'key.format' = 'raw',
  'key.fields' = 'key',
  'value.format' = 'raw',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = ${transactions},
  'properties.transaction.timeout.ms' = ${transaction_timeout_ms},
  -- A new partition gets posts and heartbeats within seconds. The aggregator looks for new partitions more often.
  'properties.metadata.max.age.ms' = '3000',
  'properties.linger.ms' = '5',
  'properties.batch.size' = '262144'
);

-- The Python operator emits its records in batches, as arrays: one row per record would cost more than reading the
-- socket.
INSERT INTO records
SELECT `key`, `value`, topic
FROM batches CROSS JOIN UNNEST(batches.records) AS collected (`key`, `value`);

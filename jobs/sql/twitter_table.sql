-- The documents as a table, for the SQL client. The connector's default partition strategy needs the command
-- `splitVector`. An application user of MongoDB has no role for it, and the local store lacks it.
CREATE TABLE IF NOT EXISTS twitter_table (
  `hash` STRING,
  `content` ARRAY<STRING>,
  `timestamp` STRING,
  `total_cases_count` BIGINT,
  `total_deaths_count` BIGINT,
  `total_recovered_count` BIGINT,
  `new_cases_count` BIGINT,
  `new_deaths_count` BIGINT,
  `new_recovered_count` BIGINT,
  `active_cases_count` BIGINT,
  `critical_cases_count` BIGINT,
  PRIMARY KEY (`hash`) NOT ENFORCED
) WITH (
  'connector' = 'mongodb',
  'uri' = ${mongodb_uri},
  'database' = ${database},
  'collection' = ${collection},
  'scan.partition.strategy' = 'single'
);

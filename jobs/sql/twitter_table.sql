-- What people look at. The connector's default way to divide a scan needs the command `splitVector`: a cluster role
-- that an application user of MongoDB does not have, and that the local store lacks.
CREATE TABLE IF NOT EXISTS twitter_table (
${document_schema}
) WITH (
  'connector' = 'mongodb',
  'uri' = ${mongodb_uri},
  'database' = ${database},
  'collection' = ${collection},
  'scan.partition.strategy' = 'single'
);

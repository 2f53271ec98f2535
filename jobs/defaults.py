"""Default names and numbers that the jobs, the local stack and the tests share."""

TWEETS_TOPIC = "tweets"
TWEETS_PARTITIONS = 4
REJECTED_TOPIC = "tweets.rejected"
EVENTS_TOPIC = "tweets.events"
DATABASE = "twitter_db"
COLLECTION = "twitter_collection"
WORLDOMETERS_URL = "https://www.worldometers.info/coronavirus/"

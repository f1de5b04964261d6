-- Records a new segment. $1 lower, $2 upper.
INSERT INTO {schema}.log_segment (lower, upper) VALUES ($1, $2) ON CONFLICT DO NOTHING

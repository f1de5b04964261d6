-- Whether this connection still listens to a channel. $1 channel.
SELECT $1 = ANY (ARRAY(SELECT pg_listening_channels()))

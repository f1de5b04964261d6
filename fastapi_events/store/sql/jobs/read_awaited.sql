-- Where events would be stored that runs wait for.
SELECT DISTINCT p.place FROM {schema}.run_wait w CROSS JOIN LATERAL unnest(w.places) AS p(place)

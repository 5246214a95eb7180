-- A large fleet around the scene that is there: 300 tenants, 60 services, :events usage rows in 60
-- days, with the hours, charges, costs and statistics that they make. Run as the superuser of a
-- throw-away database, without triggers: the pages under test read it as the application. Rows lie in
-- the order of time, as they do where they came hour by hour.
SET synchronous_commit = off;
SET session_replication_role = replica;
SET work_mem = '256MB';
SET maintenance_work_mem = '512MB';
SELECT setseed(0.42);

INSERT INTO tenant (version, created_at, changed_at, slug, name, traffic_class, currency, time_zone,
                    residency, hosted_fallback, confidential_only, salt_epoch, demo)
SELECT 1, now(), now(), 'bench-' || i, 'Bench ' || i,
       (ARRAY['critical','interactive','batch'])[1 + i % 3], 'USD', 'UTC', '{}', false, false, 1, false
FROM generate_series(1, 300 - (SELECT count(*) FROM tenant)) i;

INSERT INTO application (version, created_at, changed_at, tenant_id, slug, name, cost_centre)
SELECT 1, now(), now(), t.id, 'app-' || a, 'App ' || a, 'cc-' || a
FROM tenant t, generate_series(1, 2) a WHERE t.slug LIKE 'bench-%';

INSERT INTO api_key (tenant_id, application_id, name, public_id, digest, scopes, traffic_class, created_at)
SELECT a.tenant_id, a.id, 'key ' || k, left(md5(a.id || '/' || k), 8),
       md5(a.id || '/' || k) || md5(k || '/' || a.id), '{inference,models}', 'interactive', now()
FROM application a, generate_series(1, 3) k WHERE a.slug LIKE 'app-%';

INSERT INTO quota (tenant_id, application_id, model, series, version, requests_per_minute,
                   tokens_per_minute, concurrency, monthly_budget, valid_from)
SELECT t.id, NULL, '', 1000000 + t.id, 1, 600, 1000000, 64, 5000, now()
FROM tenant t WHERE t.slug LIKE 'bench-%';

INSERT INTO service (version, created_at, changed_at, name, description, cluster_id, replicas,
                     objectives, max_model_len, default_max_tokens, max_queue, request_seconds,
                     chunk_seconds, fallbacks, demo)
SELECT 1, now(), now(), 'bench-model-' || i, '', (SELECT min(id) FROM cluster), 3,
       '{"interactive": {"ttft_ms": 800, "itl_ms": 60, "queue_ms": 4000}}', 4096, 256, 256, 300, 30,
       '{}', false
FROM generate_series(1, 60 - (SELECT count(*) FROM service)) i;

INSERT INTO model_grant (tenant_id, model, created_at)
SELECT t.id, 'bench-model-' || (1 + (t.id * 7 + g) % 56), now()
FROM tenant t, generate_series(1, 5) g WHERE t.slug LIKE 'bench-%';

INSERT INTO model_version (name, commit, tokenizer_commit, code_commit, chat_template_digest, licence, label, created_at)
SELECT replace(name, 'bench-', 'bench/'), md5(name) || left(md5('x' || name), 8), '', '', '',
       'apache-2.0', '', now()
FROM service WHERE name LIKE 'bench-model-%';

INSERT INTO release (service_id, number, model_version_id, image, image_digest, arguments, environment,
                     pins, roles, resources, probes, digest, note, image_tag, created_at)
SELECT s.id, n, m.id, 'registry.example/vllm', 'sha256:' || md5(s.name || n) || md5(n || s.name),
       '["--max-model-len=4096"]', '{}', '{}', '[]',
       '{"gpu_product": "NVIDIA-H100-80GB-HBM3", "gpus": 1, "cpu": "4", "memory": "32Gi"}',
       '{"startup_seconds": 600, "drain_seconds": 60}',
       md5(s.name || '.' || n) || md5(n || '.' || s.name), '', '', now() - (6 - n) * interval '7 days'
FROM service s JOIN model_version m ON m.name = replace(s.name, 'bench-', 'bench/'),
     generate_series(1, 5) n;

UPDATE service s SET current_release_id = r.id FROM release r
WHERE r.service_id = s.id AND r.number = 5 AND s.name LIKE 'bench-model-%';

INSERT INTO deployment (service_id, release_id, cluster_id, name, replicas, weight, fence, manifest, changed_at)
SELECT s.id, r.id, s.cluster_id, s.name || '-rel-' || left(r.digest, 12), 3, 100, 1, '{}', now()
FROM service s JOIN release r ON r.id = s.current_release_id WHERE s.name LIKE 'bench-model-%';

INSERT INTO node (cluster_id, name, gpu_product, gpus_allocatable, gpus_used, clique, zone, ready, cordoned,
                  taints, trouble, changed_at, observed_at)
SELECT (SELECT min(id) FROM cluster), 'h100-' || i, 'NVIDIA-H100-80GB-HBM3', 8, 7, '', 'a', true, false,
       '[]', '', now() - interval '9 days', now()
FROM generate_series(1, 24) i;

INSERT INTO observed_pod (cluster_id, deployment_id, uid, name, release, node, address, phase, ready, admitted,
                          terminating, restarts, gpus, reason, message, last_log, image_id, created_at,
                          ready_at, probed_at, probe, probe_passes, probe_failures, observed_at)
SELECT d.cluster_id, d.id, md5(d.name || i)::uuid::text, d.name || '-' || left(md5(i || d.name), 5),
       'rel-' || left(r.digest, 12), 'h100-' || 1 + (d.id * 3 + i) % 24, '10.1.0.' || i, 'Running', true, true,
       false, 0, 1, '', '', '', r.image_digest, now() - interval '9 days', now() - interval '9 days', now(),
       'answers', 1000, 0, now()
FROM deployment d JOIN release r ON r.id = d.release_id JOIN service s ON s.id = d.service_id,
     generate_series(1, 3) i WHERE s.name LIKE 'bench-model-%';

INSERT INTO observed_event (cluster_id, uid, at, kind, name, reason, message, warning, count)
SELECT p.cluster_id, md5(p.uid || i), now() - i * interval '20 h', 'Pod', p.name, 'Pulled', 'Image is there', false, 1
FROM observed_pod p, generate_series(1, 8) i WHERE p.node LIKE 'h100-%' AND p.node NOT LIKE '%sxm%';

INSERT INTO engine_sample (pod_uid, service_id, release_id, at, running, waiting, kv_usage, preemptions,
                           prompt_tokens, generation_tokens, cached_tokens, steps)
SELECT p.uid, d.service_id, d.release_id, now() - i * interval '15 s', 4, 1, 0.4, 0, 1000 * (12000 - i),
       400 * (12000 - i), 10 * (12000 - i), 12000 - i
FROM observed_pod p JOIN deployment d ON d.id = p.deployment_id, generate_series(0, 11519, 4) i;

INSERT INTO rollout (claim, fence, failures, failure, look_again, service_id, cluster_id, from_release_id,
                     to_release_id, plan_kind, plan, steps, replicas, reason, requested_by_id, manifests,
                     manifest_digest, is_rollback, wish, wish_by, wish_why, skip_by, phase, step, phase_since,
                     resume_phase, memory, why, cause, started_at, ended_at, created_at)
SELECT NULL, 1, 0, '', NULL, r.service_id, s.cluster_id, b.id, r.id, m.plan_kind, m.plan, m.steps, 3, 'Newer', m.requested_by_id,
       '[]', m.manifest_digest, false, 'run', '', '', '', 'succeeded', 2, r.created_at, '', '{}', 'It serves', '',
       r.created_at, r.created_at + interval '40 min', r.created_at
FROM release r JOIN service s ON s.id = r.service_id AND s.name LIKE 'bench-model-%'
JOIN release b ON b.service_id = r.service_id AND b.number = r.number - 1,
     (SELECT * FROM rollout WHERE phase = 'succeeded' ORDER BY id LIMIT 1) m;

INSERT INTO rollout_event (rollout_id, at, phase, step, actor, why, detail)
SELECT o.id, o.created_at + i * interval '3 min', 'analyzing', 0, '', 'One more look', '{}'
FROM rollout o, generate_series(1, 12) i WHERE o.reason = 'Newer';

-- A drill of every second of these: the newest of some services failed, those of others are long ago.
INSERT INTO drill (service_id, rollout_id, moment, step, limits, promise, reason, requested_by_id, created_at)
SELECT o.service_id, o.id, 'step', 1, '{"traffic_back_seconds": 10, "full_back_seconds": 600, "requests_lost": 0}',
       '{"traffic_back": 2.0, "full_back": 60.0}', 'As every quarter', o.requested_by_id, o.created_at
FROM rollout o WHERE o.reason = 'Newer' AND o.id % 2 = 0;

INSERT INTO drill_report (drill_id, at, verdict, why, report, digest)
SELECT d.id, d.created_at + interval '41 min', CASE WHEN d.id % 7 = 0 THEN 'failed' WHEN d.id % 11 = 0 THEN 'not_run' ELSE 'passed' END,
       'All traffic was back after 1.4 s, everything after 41.0 s, and 0 requests were lost',
       jsonb_build_object('checks', '[]'::jsonb, 'lost_by_tenant', '[]'::jsonb, 'answers_cut', 0, 'phases',
         (SELECT jsonb_agg(jsonb_build_object('at', d.created_at + i * interval '3 min', 'phase', 'analyzing',
                                              'step', 1, 'who', '', 'why', 'One more look')) FROM generate_series(1, 12) i)),
       md5(d.id::text) || md5('drill' || d.id)
FROM drill d WHERE d.reason = 'As every quarter' AND d.service_id IN (SELECT id FROM service WHERE name LIKE 'bench-model-%');

INSERT INTO rollout_fetch (rollout_id, node, pod, state, trouble, made_at, state_at, gone_at)
SELECT o.id, 'h100-' || i, 'prefetch-' || i, 'done', '', o.created_at, o.created_at, o.created_at
FROM rollout o, generate_series(1, 32) i WHERE o.reason = 'Newer';

INSERT INTO finding (tenant_id, service_id, traffic_class, symptom, started_at, seen_at, ended_at, cause,
                     sentence, evidence, requests, affected)
SELECT t.id, 1 + t.id % 60, 'interactive', 'ttft', now() - i * interval '30 h', now() - i * interval '29 h',
       CASE WHEN i > 1 OR t.id % 15 > 0 THEN now() - i * interval '29 h' END, 'saturation',
       'KV cache is full on 2 of 3 replicas.', '[]', 9000, 700
FROM tenant t, generate_series(1, 10) i WHERE t.slug LIKE 'bench-%';

-- The first tenants have most of the traffic, and most of it on one service.
CREATE UNLOGGED TABLE event AS
SELECT gen_random_uuid() AS request_id, a.tenant_id, a.application_id, s.id AS service_id, s.name AS model,
       s.release_id, s.fingerprint, 'interactive' AS traffic_class, pick.outcome,
       CASE pick.outcome WHEN 'rejected' THEN 'rpm' WHEN 'shed' THEN 'queue_full' ELSE '' END AS reason,
       CASE WHEN pick.outcome IN ('rejected', 'shed') THEN 0 ELSE pick.prompt END AS prompt,
       CASE WHEN pick.outcome IN ('rejected', 'shed') THEN 0 ELSE pick.completion END AS completion,
       CASE WHEN pick.outcome IN ('rejected', 'shed') THEN 0 ELSE 2000 END AS gpu_ms,
       CASE WHEN pick.outcome NOT IN ('rejected', 'shed') THEN pick.ttft END AS ttft,
       CASE WHEN pick.outcome NOT IN ('rejected', 'shed') THEN pick.itl END AS itl, pick.at
FROM (SELECT 1 + floor(power(random(), 2) * (SELECT count(*) FROM application))::int AS a,
             floor(power(random(), 8) * 3)::int AS m,
             (ARRAY['served','served','served','served','served','served','served','served','served',
                    'served','served','served','served','served','served','served','rejected','shed',
                    'cancelled','failed'])[1 + floor(random() * 20)::int] AS outcome,
             (50 + random() * 900)::bigint AS prompt, (10 + random() * 400)::bigint AS completion,
             exp(3 + random() * 4) AS ttft, exp(2 + random() * 2) AS itl,
             now() - interval '60 days' * (1 - g::float8 / :events) AS at
      FROM generate_series(1, :events) g) pick
JOIN (SELECT row_number() OVER (ORDER BY id) AS n, id AS application_id, tenant_id FROM application) a
     ON a.n = pick.a
JOIN (SELECT row_number() OVER (ORDER BY s.id) AS n, s.id, s.name, r.id AS release_id,
             'rel-' || left(r.digest, 12) AS fingerprint
      FROM service s JOIN release r ON r.id = s.current_release_id) s
     ON s.n = 1 + (CASE WHEN a.n > 3 THEN a.n * 7 ELSE 0 END + pick.m) % 60;
ANALYZE event;

INSERT INTO usage_event (request_id, source_id, tenant_id, application_id, credential_id, model, service_id,
    deployment_id, release_id, release, cluster, pod, traffic_class, outcome, reason, modifiers,
    rerouted_from, stream, http_status, finish_reason, usage_quality, prompt_tokens, cached_tokens,
    completion_tokens, started_at, event_time, queue_ms, ttft_ms, itl_ms, itl_p95_ms, gpu_ms, worker,
    policy_version, routing_version, price_version, limit_versions, engine_id, demo, stored_at)
SELECT request_id, 1, tenant_id, application_id, 1, model, service_id, NULL, release_id, fingerprint, 'ams-1',
       'pod', traffic_class, outcome, reason, '{}', '', true, CASE WHEN gpu_ms > 0 THEN 200 ELSE 429 END,
       CASE WHEN gpu_ms > 0 THEN 'stop' ELSE '' END, CASE WHEN gpu_ms > 0 THEN 'final' ELSE 'none' END,
       prompt, prompt / 4, completion, at - interval '2 s', at, 3, ttft, itl, itl * 2, gpu_ms, 'w', 1, 1, 1,
       '{}', '', false, at
FROM event;

CREATE UNLOGGED TABLE before AS SELECT * FROM usage_hour;
TRUNCATE usage_hour;
INSERT INTO usage_hour (hour, tenant_id, application_id, model, service_id, traffic_class, outcome, release, requests,
                        prompt_tokens, cached_tokens, completion_tokens, gpu_ms)
SELECT hour, tenant_id, application_id, model, service_id, traffic_class, outcome, release, sum(requests), sum(prompt),
       sum(cached), sum(completion), sum(gpu_ms)
FROM (SELECT date_trunc('hour', at) AS hour, tenant_id, application_id, model, service_id, traffic_class, outcome,
             fingerprint AS release, count(*) AS requests, sum(prompt) AS prompt, sum(prompt / 4) AS cached,
             sum(completion) AS completion, sum(gpu_ms) AS gpu_ms
      FROM event GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
      UNION ALL SELECT hour, tenant_id, application_id, model, service_id, traffic_class, outcome, release, requests,
             prompt_tokens, cached_tokens, completion_tokens, gpu_ms FROM before) both_of_them
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1;
DROP TABLE before;
ANALYZE usage_hour;

CREATE UNLOGGED TABLE before AS SELECT * FROM traffic_slot WHERE seconds = 300;
DELETE FROM traffic_slot WHERE seconds = 300;
INSERT INTO traffic_slot (seconds, slot, tenant_id, service_id, release_id, traffic_class, outcome, reason,
                          requests, prompt_tokens, cached_tokens, completion_tokens)
SELECT 300, slot, tenant_id, service_id, release_id, traffic_class, outcome, reason, sum(requests), sum(prompt),
       sum(cached), sum(completion)
FROM (SELECT date_bin('300 s', at, '2000-01-01T00:00:00Z') AS slot, tenant_id, service_id, release_id,
             traffic_class, outcome, reason, 1 AS requests, prompt, prompt / 4 AS cached, completion FROM event
      UNION ALL SELECT slot, tenant_id, service_id, release_id, traffic_class, outcome, reason, requests,
             prompt_tokens, cached_tokens, completion_tokens FROM before) both_of_them
GROUP BY 2, 3, 4, 5, 6, 7, 8 ORDER BY 2;
DROP TABLE before;

CREATE UNLOGGED TABLE before AS SELECT * FROM latency_slot WHERE seconds = 300;
DELETE FROM latency_slot WHERE seconds = 300;
INSERT INTO latency_slot (seconds, slot, tenant_id, service_id, release_id, traffic_class, metric, bucket, samples)
SELECT 300, slot, tenant_id, service_id, release_id, traffic_class, metric, bucket, sum(samples)
FROM (SELECT date_bin('300 s', at, '2000-01-01T00:00:00Z') AS slot, tenant_id, service_id, release_id,
             traffic_class, m.metric, ceil(ln(m.value) / ln(1.1)) AS bucket, 1 AS samples
      FROM event, LATERAL (VALUES ('ttft', ttft), ('itl', itl), ('queue', 3)) m (metric, value)
      WHERE at > now() - interval '31 days' AND gpu_ms > 0
      UNION ALL SELECT slot, tenant_id, service_id, release_id, traffic_class, metric, bucket, samples
      FROM before) both_of_them
GROUP BY 2, 3, 4, 5, 6, 7, 8 ORDER BY 2;
DROP TABLE before;
DROP TABLE event;

INSERT INTO price (book_version_id, model, meter, traffic_class, kind, terms, unit_price)
SELECT v.id, s.name, m.meter, '', 'unit', '', m.price
FROM (SELECT min(id) AS id FROM price_book_version WHERE published_at IS NOT NULL) v, service s,
     LATERAL (VALUES ('prompt', 0.00000015), ('cached', 0.00000003), ('completion', 0.0000006)) m (meter, price)
WHERE NOT EXISTS (SELECT FROM price p WHERE p.book_version_id = v.id AND p.model = s.name);

INSERT INTO charge (run_id, hour, tenant_id, application_id, model, traffic_class, meter, quantity, unit_price,
                    amount, currency, book_version_id)
SELECT (SELECT max(id) FROM rating_run), h.hour, h.tenant_id, h.application_id, h.model, h.traffic_class, m.meter,
       m.quantity, p.unit_price, m.quantity * p.unit_price, 'USD', p.book_version_id
FROM (SELECT hour, tenant_id, application_id, model, traffic_class, sum(prompt_tokens) p,
             sum(cached_tokens) c, sum(completion_tokens) o
      FROM usage_hour WHERE outcome = 'served' GROUP BY 1, 2, 3, 4, 5) h
CROSS JOIN LATERAL (VALUES ('prompt', h.p - h.c), ('cached', h.c), ('completion', h.o)) m (meter, quantity)
JOIN price p ON p.model = h.model AND p.meter = m.meter
    AND p.book_version_id = (SELECT min(id) FROM price_book_version WHERE published_at IS NOT NULL)
ORDER BY h.hour;

TRUNCATE charge_day;
INSERT INTO charge_day (day, tenant_id, application_id, model, traffic_class, meter, currency, quantity, amount)
SELECT (hour AT TIME ZONE 'UTC')::date, tenant_id, application_id, model, traffic_class, meter, currency,
       sum(quantity), sum(amount)
FROM charge GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1;

TRUNCATE usage_hour_head;
INSERT INTO usage_hour_head (hour, tenant_id, version, events, prompt_tokens, completion_tokens, rolled_at,
                             rated_version, rated_at, amount, currency)
SELECT h.hour, h.tenant_id, 1, h.events, h.prompt, h.completion, now(), 1, now(), coalesce(c.amount, 0), 'USD'
FROM (SELECT hour, tenant_id, sum(requests) AS events, sum(prompt_tokens) AS prompt,
             sum(completion_tokens) AS completion FROM usage_hour GROUP BY 1, 2) h
LEFT JOIN (SELECT hour, tenant_id, sum(amount) AS amount FROM charge GROUP BY 1, 2) c USING (hour, tenant_id)
ORDER BY 1;

TRUNCATE charge_total, charge_sum, charge_release, usage_day, usage_model_day;
-- Each charge to the release with the most tokens of its hour: as many rows as there are, near enough.
INSERT INTO charge_release (day, tenant_id, model, release, currency, amount)
SELECT (c.hour AT TIME ZONE 'UTC')::date, c.tenant_id, c.model, coalesce(u.release, ''), c.currency, sum(c.amount)
FROM charge c LEFT JOIN (
    SELECT DISTINCT ON (hour, tenant_id, application_id, model, traffic_class) hour, tenant_id, application_id,
        model, traffic_class, release
    FROM usage_hour WHERE outcome = 'served'
    ORDER BY hour, tenant_id, application_id, model, traffic_class, completion_tokens DESC
) u USING (hour, tenant_id, application_id, model, traffic_class)
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1;
INSERT INTO charge_total (day, tenant_id, model, currency, amount)
SELECT day, tenant_id, model, currency, sum(amount) FROM charge_day GROUP BY 1, 2, 3, 4 ORDER BY 1;
INSERT INTO charge_sum (day, tenant_id, currency, amount)
SELECT day, tenant_id, currency, sum(amount) FROM charge_total GROUP BY 1, 2, 3 ORDER BY 1;
INSERT INTO usage_day (day, tenant_id, events, prompt_tokens, completion_tokens)
SELECT (hour AT TIME ZONE 'UTC')::date, tenant_id, sum(events), sum(prompt_tokens), sum(completion_tokens)
FROM usage_hour_head GROUP BY 1, 2 ORDER BY 1;
INSERT INTO usage_model_day (day, tenant_id, model, outcome, requests, prompt_tokens, completion_tokens)
SELECT (hour AT TIME ZONE 'UTC')::date, tenant_id, model, outcome, sum(requests), sum(prompt_tokens),
       sum(completion_tokens)
FROM usage_hour GROUP BY 1, 2, 3, 4 ORDER BY 1;

-- Cost: three GPUs a service all the time, half of it idle, and one product that nobody uses.
INSERT INTO gpu_price (sheet_id, product, hourly)
SELECT id, 'NVIDIA-H100-80GB-HBM3', 2.5 FROM gpu_price_sheet WHERE effective IS NOT NULL;
UPDATE gpu_price_sheet SET effective = tstzrange(now() - interval '90 days', NULL) WHERE effective IS NOT NULL;
INSERT INTO gpu_time (hour, cluster_id, gpu_product, state, service_id, gpu_ms)
SELECT h, (SELECT min(id) FROM cluster), 'NVIDIA-H100-80GB-HBM3', 'serving', s.id, 3 * 3600000
FROM generate_series(date_trunc('hour', now()) - interval '59 days', date_trunc('hour', now()), '1 hour') h, service s
UNION ALL SELECT h, (SELECT min(id) FROM cluster), 'NVIDIA-H100-80GB-HBM3', 'free', NULL, 40 * 3600000
FROM generate_series(date_trunc('hour', now()) - interval '59 days', date_trunc('hour', now()), '1 hour') h;
INSERT INTO allocation_run (hour, method, currency, sheet_id, cost, gpu_ms, input_sha, finished_at, is_current)
SELECT hour, 'bench', 'USD', (SELECT min(id) FROM gpu_price_sheet), sum(gpu_ms) * 2.5 / 3600000, sum(gpu_ms), '',
       now(), true
FROM gpu_time WHERE gpu_product = 'NVIDIA-H100-80GB-HBM3' GROUP BY hour
ON CONFLICT (hour) WHERE is_current DO NOTHING;
INSERT INTO cost_pool (run_id, hour, cluster, product, state, service_id, gpu_ms, hourly, cost)
SELECT r.id, r.hour, 'ams-1', g.gpu_product, g.state, coalesce(g.service_id, 0), g.gpu_ms, 2.5,
       g.gpu_ms * 2.5 / 3600000
FROM allocation_run r JOIN gpu_time g ON g.hour = r.hour AND g.gpu_product = 'NVIDIA-H100-80GB-HBM3'
WHERE r.method = 'bench';
ANALYZE cost_pool;
CREATE UNLOGGED TABLE share AS
SELECT p.id AS pool_id, p.hour, u.tenant_id, u.application_id, u.model, u.release, sum(u.gpu_ms) AS weight,
       p.gpu_ms AS whole, p.cost
FROM cost_pool p JOIN usage_hour u ON u.hour = p.hour AND u.service_id = p.service_id AND u.gpu_ms > 0
WHERE p.state = 'serving' AND p.product = 'NVIDIA-H100-80GB-HBM3' GROUP BY 1, 2, 3, 4, 5, 6, 8, 9;
INSERT INTO allocation (pool_id, hour, kind, tenant_id, application_id, model, release, weight, amount)
SELECT pool_id, hour, 'tenant', tenant_id, application_id, model, release, weight,
       trunc(cost * weight / greatest(whole, sum(weight) OVER (PARTITION BY pool_id)), 12) FROM share;
INSERT INTO allocation (pool_id, hour, kind, tenant_id, application_id, model, weight, amount)
SELECT p.id, p.hour, CASE p.state WHEN 'free' THEN 'overhead' ELSE 'idle' END, NULL, NULL, '',
       greatest(p.gpu_ms - coalesce(s.weight, 0), 0), p.cost - coalesce(s.amount, 0)
FROM cost_pool p LEFT JOIN (SELECT pool_id, sum(weight) AS weight, sum(amount) AS amount FROM allocation
                            WHERE kind = 'tenant' GROUP BY 1) s ON s.pool_id = p.id
WHERE p.product = 'NVIDIA-H100-80GB-HBM3';
DROP TABLE share;
TRUNCATE cost_day;
INSERT INTO cost_day (day, kind, tenant_id, application_id, model, release, product, state, currency, weight, amount)
SELECT (p.hour AT TIME ZONE 'UTC')::date, a.kind, a.tenant_id, a.application_id, a.model, a.release, p.product, p.state,
       r.currency, sum(a.weight), sum(a.amount)
FROM allocation_run r JOIN cost_pool p ON p.run_id = r.id JOIN allocation a ON a.pool_id = p.id
WHERE r.is_current GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 ORDER BY 1;

INSERT INTO audit_event (at, actor, via, verb, target_kind, target_id, target_name, tenant_id, why, request_id)
SELECT now() - i * interval '40 s', 'olga@example.test', 'session', 'quota.set', 'quota', i::text, 'quota',
       (SELECT min(id) FROM tenant WHERE slug LIKE 'bench-%') + i % 290, '', ''
FROM generate_series(1, 100000) i;
SET session_replication_role = origin;

-- A large fleet, as rows: 300 tenants, 60 services, :events usage rows in 60 days.
-- Run as the superuser of a throw-away database: the pages under test read it as the application.
SET synchronous_commit = off;
SET work_mem = '256MB';
SELECT setseed(0.42);

INSERT INTO tenant (version, created_at, changed_at, slug, name, traffic_class, currency, time_zone,
                    residency, hosted_fallback, confidential_only, salt_epoch, demo)
SELECT 1, now(), now(), 'bench-' || i, 'Bench ' || i,
       (ARRAY['critical','interactive','batch'])[1 + i % 3], 'USD', 'UTC', '{}', false, false, 1, false
FROM generate_series(1, 300) i;

INSERT INTO application (version, created_at, changed_at, tenant_id, slug, name, cost_centre)
SELECT 1, now(), now(), t.id, 'app-' || a, 'App ' || a, 'cc-' || a
FROM tenant t, generate_series(1, 3) a WHERE t.slug LIKE 'bench-%';

INSERT INTO api_key (tenant_id, application_id, name, public_id, digest, scopes, traffic_class, created_at)
SELECT a.tenant_id, a.id, 'key ' || k, left(md5(a.id || '/' || k), 8),
       md5(a.id || '/' || k) || md5(k || '/' || a.id), '{inference,models}', 'batch', now()
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
FROM generate_series(1, 60) i;

INSERT INTO model_grant (tenant_id, model, created_at)
SELECT t.id, 'bench-model-' || (1 + (t.id * 7 + g) % 60), now()
FROM tenant t, generate_series(1, 5) g WHERE t.slug LIKE 'bench-%';

INSERT INTO model_version (name, commit, tokenizer_commit, code_commit, chat_template_digest, licence, label, created_at)
SELECT 'bench/model-' || i, md5(i::text) || left(md5('x' || i), 8), '', '', '', 'apache-2.0', '', now()
FROM generate_series(1, 60) i;

INSERT INTO release (service_id, number, model_version_id, image, image_digest, arguments, environment,
                     resources, probes, digest, note, image_tag, created_at)
SELECT s.id, n, m.id, 'registry.example/vllm', 'sha256:' || md5(s.name || n) || md5(n || s.name),
       '["--max-model-len=4096"]', '{}',
       '{"gpu_product": "NVIDIA-H100-80GB-HBM3", "gpus": 1, "cpu": "4", "memory": "32Gi"}', '{}',
       md5(s.name || '.' || n) || md5(n || '.' || s.name), '', '', now()
FROM service s JOIN model_version m ON m.name = replace(s.name, 'bench-model-', 'bench/model-'),
     generate_series(1, 5) n
WHERE s.name LIKE 'bench-model-%';

UPDATE service s SET current_release_id = r.id FROM release r
WHERE r.service_id = s.id AND r.number = 5 AND s.name LIKE 'bench-model-%';

INSERT INTO deployment (service_id, release_id, cluster_id, name, replicas, weight, fence, manifest, changed_at)
SELECT s.id, s.current_release_id, s.cluster_id, s.name || '-x', 3, 100, 1, '{}', now()
FROM service s WHERE s.name LIKE 'bench-model-%';

CREATE TEMP TABLE event AS
SELECT gen_random_uuid() AS request_id, t.tenant_id, t.application_id, s.id AS service_id, s.name AS model,
       s.current_release_id AS release_id, t.traffic_class,
       (ARRAY['served','served','served','served','served','served','served','served','served',
              'served','served','served','served','served','served','served','rejected','shed',
              'cancelled','failed'])[1 + floor(random() * 20)::int] AS outcome,
       (50 + random() * 900)::bigint AS prompt, (10 + random() * 400)::bigint AS completion,
       exp(3 + random() * 4) AS ttft, exp(2 + random() * 2) AS itl,
       now() - random() * interval '60 days' AS at
FROM (SELECT g, 1 + floor(power(random(), 2) * 900)::int AS a, floor(random() * 3)::int AS m
      FROM generate_series(1, :events) g) pick
JOIN (SELECT row_number() OVER (ORDER BY a.id) AS n, a.id AS application_id, a.tenant_id, t.traffic_class
      FROM application a JOIN tenant t ON t.id = a.tenant_id WHERE t.slug LIKE 'bench-%') t ON t.n = pick.a
JOIN (SELECT row_number() OVER (ORDER BY id) AS n, * FROM service WHERE name LIKE 'bench-model-%') s
     ON s.n = 1 + (t.tenant_id * 7 + pick.m) % 60;

INSERT INTO usage_event (request_id, source_id, tenant_id, application_id, credential_id, model, service_id,
    deployment_id, release_id, release, cluster, pod, traffic_class, outcome, reason, modifiers,
    rerouted_from, stream, http_status, finish_reason, usage_quality, prompt_tokens, cached_tokens,
    completion_tokens, started_at, event_time, queue_ms, ttft_ms, itl_ms, itl_p95_ms, gpu_ms, worker,
    policy_version, routing_version, price_version, limit_versions, engine_id, demo, stored_at)
SELECT request_id, 1, tenant_id, application_id, 1, model, service_id, NULL, release_id, 'rel-bench', 'ams-1',
       'pod', traffic_class, outcome, CASE outcome WHEN 'rejected' THEN 'rpm' ELSE '' END, '{}', '', true,
       200, 'stop', 'final', prompt, prompt / 4, completion, at - interval '2 s', at, 3, ttft, itl, itl * 2,
       2000, 'w', 1, 1, 1, '{}', '', false, at
FROM event;

INSERT INTO usage_hour (hour, tenant_id, application_id, model, service_id, traffic_class, outcome, requests,
                        prompt_tokens, cached_tokens, completion_tokens, gpu_ms)
SELECT date_trunc('hour', at), tenant_id, application_id, model, service_id, traffic_class, outcome, count(*),
       sum(prompt), sum(prompt / 4), sum(completion), count(*) * 2000
FROM event GROUP BY 1, 2, 3, 4, 5, 6, 7;

INSERT INTO traffic_slot (seconds, slot, tenant_id, service_id, release_id, traffic_class, outcome, requests,
                          prompt_tokens, cached_tokens, completion_tokens)
SELECT 300, date_bin('300 s', at, '2000-01-01'), tenant_id, service_id, release_id, traffic_class, outcome,
       count(*), sum(prompt), sum(prompt / 4), sum(completion)
FROM event GROUP BY 2, 3, 4, 5, 6, 7;

INSERT INTO latency_slot (seconds, slot, tenant_id, service_id, release_id, traffic_class, metric, bucket, samples)
SELECT 300, date_bin('300 s', at, '2000-01-01'), tenant_id, service_id, release_id, traffic_class, m.metric,
       ceil(ln(m.value) / ln(1.1)), count(*)
FROM event, LATERAL (VALUES ('ttft', ttft), ('itl', itl)) m (metric, value)
WHERE at > now() - interval '8 days'
GROUP BY 2, 3, 4, 5, 6, 7, 8;

INSERT INTO price_book (version, created_at, changed_at, slug, name, currency)
VALUES (1, now(), now(), 'bench', 'Bench', 'USD') ON CONFLICT DO NOTHING;
INSERT INTO price_book_version (book_id, number, why, created_at, created_by, published_at, published_by, effective)
SELECT b.id, 1000, '', now(), 'bench', now(), 'bench', 'empty' FROM price_book b ORDER BY b.id LIMIT 1;
INSERT INTO rating_run (started_at, finished_at, hours, charges, input_sha, rules_version)
VALUES (now(), now(), 0, 0, '', '1');

INSERT INTO charge (run_id, hour, tenant_id, application_id, model, traffic_class, meter, quantity, unit_price,
                    amount, currency, book_version_id)
SELECT (SELECT max(id) FROM rating_run), h.hour, h.tenant_id, h.application_id, h.model, h.traffic_class, m.meter,
       m.quantity, m.price, m.quantity * m.price, 'USD', (SELECT max(id) FROM price_book_version)
FROM (SELECT hour, tenant_id, application_id, model, traffic_class, sum(prompt_tokens) p,
             sum(cached_tokens) c, sum(completion_tokens) o
      FROM usage_hour WHERE outcome = 'served' GROUP BY 1, 2, 3, 4, 5) h,
     LATERAL (VALUES ('prompt', h.p - h.c, 0.00000015), ('cached', h.c, 0.00000003),
                     ('completion', h.o, 0.0000006)) m (meter, quantity, price);

INSERT INTO charge_day (day, tenant_id, application_id, model, traffic_class, meter, currency, quantity, amount)
SELECT (hour AT TIME ZONE 'UTC')::date, tenant_id, application_id, model, traffic_class, meter, currency,
       sum(quantity), sum(amount)
FROM charge GROUP BY 1, 2, 3, 4, 5, 6, 7;

INSERT INTO usage_hour_head (hour, tenant_id, version, events, rolled_at, rated_version, rated_at, amount, currency)
SELECT hour, tenant_id, 1, sum(requests), now(), 1, now(), 0, 'USD' FROM usage_hour GROUP BY 1, 2;

INSERT INTO audit_event (at, actor, via, verb, target_kind, target_id, target_name, tenant_id, why, request_id)
SELECT now() - i * interval '40 s', 'olga@example.test', 'session', 'quota.set', 'quota', i::text, 'quota',
       (SELECT min(id) FROM tenant WHERE slug LIKE 'bench-%') + i % 300, '', ''
FROM generate_series(1, 100000) i;
ANALYZE;

-- name: insert_job
INSERT INTO job (job_id, fingerprint, name, realm, state, options, source, created_at_s, updated_at_s)
VALUES (:job_id, :fingerprint, :name, :realm, 'planning', :options, :source, :now_s, :now_s)
ON CONFLICT (fingerprint) DO NOTHING;

-- name: delete_job
DELETE FROM job WHERE job_id = :job_id;

-- name: delete_ledger
DELETE FROM ledger WHERE job_id = :job_id;

-- name: release_fingerprint
UPDATE job SET fingerprint = fingerprint || ':' || job_id WHERE fingerprint = :fingerprint;

-- name: job_by_id
SELECT * FROM job WHERE job_id = :job_id;

-- name: job_by_fingerprint
SELECT * FROM job WHERE fingerprint = :fingerprint;

-- name: all_jobs
SELECT * FROM job ORDER BY created_at_s DESC, job_id DESC;

-- name: commit_plan
UPDATE job SET state = :state, rows = :rows, width = :width, requests = :requests, adjustments = :adjustments,
               notices = :notices, updated_at_s = :now_s
WHERE job_id = :job_id;

-- name: move_job
UPDATE job SET state = :state, reason = :reason, updated_at_s = :now_s WHERE job_id = :job_id AND state = :before;

-- name: insert_lane
INSERT INTO lane (job_id, lane, provider, model, endpoint, account)
VALUES (:job_id, :lane, :provider, :model, :endpoint, :account);

-- name: lanes
SELECT * FROM lane WHERE job_id = :job_id ORDER BY lane;

-- name: insert_batch
INSERT INTO batch (job_id, number, lane, state, tag, nonce, rows, bytes, input_tokens, attempt, attempts_left,
                   refusals, answer_format)
VALUES (:job_id, :number, :lane, 'planned', :tag, :nonce, :rows, :bytes, :input_tokens, :attempt, :attempts_left,
        :refusals, :answer_format);

-- name: batches
SELECT * FROM batch WHERE job_id = :job_id ORDER BY number;

-- name: live_batches
SELECT * FROM batch
WHERE job_id = :job_id AND (state NOT IN ('collected', 'refused', 'withdrawn') OR waiting > 0)
ORDER BY number;

-- name: last_number
SELECT max(number) AS number FROM batch WHERE job_id = :job_id;

-- name: batch
SELECT * FROM batch WHERE job_id = :job_id AND number = :number;

-- name: wake
UPDATE batch SET look_at_s = 0 WHERE job_id = :job_id;

-- name: requeue
UPDATE batch SET waiting = waiting + :count, attempts_left = max(attempts_left, :attempts), look_at_s = 0
WHERE job_id = :job_id AND number = :number;

-- name: put_segment
INSERT INTO ledger (job_id, segment, entries) VALUES (:job_id, :segment, :entries)
ON CONFLICT (job_id, segment) DO UPDATE SET entries = excluded.entries;

-- name: segment
SELECT entries FROM ledger WHERE job_id = :job_id AND segment = :segment;

-- name: segment_numbers
SELECT segment FROM ledger WHERE job_id = :job_id ORDER BY segment;

-- name: enqueued_tokens
SELECT lane.provider || '/' || lane.model || ' ' || lane.endpoint || ' ' || lane.account AS lane,
       sum(batch.input_tokens) AS tokens
FROM batch JOIN lane USING (job_id, lane) JOIN job USING (job_id)
WHERE job.realm = :realm AND batch.state IN ('submitting', 'in_doubt', 'in_progress', 'cancelling')
GROUP BY 1;

-- name: quotas
SELECT lane, tokens FROM quota WHERE realm = :realm;

-- name: learn_quota
INSERT INTO quota (realm, lane, tokens, seen_at_s) VALUES (:realm, :lane, :tokens, :now_s)
ON CONFLICT (realm, lane) DO UPDATE SET tokens = excluded.tokens, seen_at_s = excluded.seen_at_s;

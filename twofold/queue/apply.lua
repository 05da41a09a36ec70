-- Applies the changes of one event to one job, all or nothing, if no other came first.
--
-- Keys; {tenant} is the hash tag, so that all keys of a tenant share a slot. Those with a life-time
-- get it here; the rest is declared permanent in schema.py.
--   twofold:{tenant}:job:<id>      hash    the job, a field per field of twofold.jobs.Job, and
--                                          "format" (1), "change" (token of the last change).
--                                          Permanent until terminal, then 7 days.
--   twofold:{tenant}:events:<id>   stream  a snapshot of the job per change that users see; about
--                                          1,000 at most. Permanent until terminal, then 24 h.
--   twofold:{tenant}:queue         stream  one entry per QUEUED, RUNNING or CANCELLING job, field
--                                          "job"; consumer group "workers". Permanent.
--   twofold:{tenant}:delayed       zset    DELAYED and RETRY_WAIT jobs by due time in ms. Permanent.
--   twofold:{tenant}:checked       hash    "born": a token made with the key; "done": the server's
--                                          run id and that token, as they were before the jobs of
--                                          the store were last compared with the queue; "store": the
--                                          identity of that store. Permanent.
--   twofold:{tenant}:dead          stream  jobs given up, field "job"; about 1,000. Permanent.
--   twofold:{tenant}:versions      stream  "look at the store": a version, alias or withdrawal
--                                          changed; about 100. Permanent.
--
-- KEYS[1] the job's hash; the others as the operations name them, by number.
-- ARGV[1] the token of the change that the changes were decided on ("": no such job). Not its
--         revision: after a failover to the past, others count up to the same one.
-- ARGV[2] the token of this change; a repeat after a lost answer finds it and changes nothing.
-- ARGV[3] the count of what follows: names and values of the job's fields that change.
-- Then operations: name, number of the key, count of arguments, arguments.
--
-- Answers {status, detail}: 1 applied, the job's entry where it is new or the change a repeat, else
-- ""; 0 another change came first, its token.

local job = KEYS[1]
local change = redis.call('HGET', job, 'change') or ''
if change == ARGV[2] then
  return {1, redis.call('HGET', job, 'entry') or ''}
end
if change ~= ARGV[1] then
  return {0, change}
end

local fields = {unpack(ARGV, 4, 3 + ARGV[3])}
local entry = ''
local first = 4 + ARGV[3]
while first <= #ARGV do
  local name = ARGV[first]
  local key = KEYS[tonumber(ARGV[first + 1])]
  local last = first + 2 + ARGV[first + 2]
  if name == 'ENQUEUE' then
    -- A fresh entry, remembered in the job. The group is made with its stream, not by the first
    -- worker: XGROUP is refused while memory is full, and reading is not.
    if redis.call('EXISTS', key) == 0 then
      redis.call('XGROUP', 'CREATE', key, 'workers', '0', 'MKSTREAM')
    end
    entry = redis.call('XADD', key, '*', 'job', ARGV[last])
    fields[#fields + 1] = 'entry'
    fields[#fields + 1] = entry
  else
    redis.call(name, key, unpack(ARGV, first + 3, last))
  end
  first = last + 1
end
-- Last, and all at once: what is not done to its end is done again.
redis.call('HSET', job, 'change', ARGV[2], unpack(fields))
return {1, entry}

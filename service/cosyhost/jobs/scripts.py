"""The ledger's changes as Lua scripts: each happens whole or not at all."""

from __future__ import annotations

NOW = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
"""

# Leaves what metrics need of a job that has just ended, for one web process to take: no text, no
# user, no id; and beside it, with user and id, what the trail does. Called by whatever ends a job,
# so there is one record of each. Where nobody takes them, the last 10,000 (3 MB) are kept.
NOTE = """
local function note(job, id, ended, unrecorded)
  local names = {'state', 'mode', 'engine', 'preview', 'created', 'started', 'first_audio',
                 'finished', 'upload_s', 'upload_bytes', 'audio_s', 'mark_s', 'encode_s'}
  local record = {}
  for i, value in ipairs(redis.call('HMGET', job, unpack(names))) do
    record[names[i]] = value or nil
  end
  redis.call('RPUSH', ended, cjson.encode(record))
  redis.call('LTRIM', ended, -10000, -1)
  record['id'] = id
  record['user'] = redis.call('HGET', job, 'user') or nil
  record['code'] = redis.call('HGET', job, 'code') or nil
  redis.call('RPUSH', unrecorded, cjson.encode(record))
  redis.call('LTRIM', unrecorded, -10000, -1)
end
"""

SUBMIT = (
    NOW
    + """
local job, waiting = KEYS[1], KEYS[2]
local n = redis.call('ZCARD', waiting)
if n >= tonumber(ARGV[3]) then return -1 end
redis.call('HSET', job, 'state', 'queued', 'mode', ARGV[4], 'spec', ARGV[2],
           'attempts', 0, 'created', now, 'title', ARGV[6],
           'upload_s', ARGV[7], 'upload_bytes', ARGV[8], 'user', ARGV[9])
redis.call('EXPIRE', job, ARGV[5])
redis.call('ZADD', waiting, now, ARGV[1])
if ARGV[9] ~= '' then
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[10]))
  redis.call('EXPIRE', KEYS[3], ARGV[5])
end
return n
"""
)

# Returns the job's spec and the attempt, or the state that forbids it (with its owner if leased).
CLAIM = (
    NOW
    + NOTE
    + """
local job, waiting, leases, dead, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, owner, lease, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local state = redis.call('HGET', job, 'state')
if not state then return {'unknown', ''} end
if state == 'running' then
  local until_ = tonumber(redis.call('ZSCORE', leases, id) or 0)
  if until_ > now then return {'running', redis.call('HGET', job, 'owner')} end
elseif state ~= 'queued' then return {state, ''} end
local attempts = tonumber(redis.call('HGET', job, 'attempts'))
redis.call('ZREM', waiting, id)
if attempts >= most then
  redis.call('HSET', job, 'state', 'failed', 'finished', now, 'code', ARGV[5],
             'figures', cjson.encode({attempts = attempts}))
  redis.call('ZREM', leases, id)
  redis.call('ZADD', dead, now, id)
  redis.call('XADD', stream, '*', 'end', 'failed')
  redis.call('EXPIRE', stream, ARGV[6])
  note(job, id, KEYS[6], KEYS[7])
  return {'failed', ''}
end
redis.call('HSET', job, 'state', 'running', 'owner', owner, 'attempts', attempts + 1,
           'started', now)
for i = 7, #ARGV, 2 do redis.call('HSET', job, ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', leases, now + tonumber(lease), id)
return {'claimed', redis.call('HGET', job, 'spec'), attempts + 1}
"""
)

# Back to the queue, unless somebody else has it by now.
RELEASE = (
    NOW
    + """
local job, waiting, leases = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HGET', job, 'state') ~= 'running' then return 0 end
if redis.call('HGET', job, 'owner') ~= ARGV[2] then return 0 end
redis.call('ZREM', leases, ARGV[1])
redis.call('HSET', job, 'state', 'queued')
redis.call('ZADD', waiting, redis.call('HGET', job, 'created'), ARGV[1])
return 1
"""
)

RENEW = (
    NOW
    + """
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), ARGV[1])
return 1
"""
)

# The first end wins: a job cancelled or finished elsewhere keeps its state. The text goes with it.
FINISH = (
    NOW
    + NOTE
    + """
local job, waiting, leases, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local state = redis.call('HGET', job, 'state')
if state ~= 'running' and state ~= 'queued' then return 0 end
if ARGV[2] ~= '' and redis.call('HGET', job, 'owner') ~= ARGV[2] then return 0 end
redis.call('ZREM', waiting, ARGV[1])
redis.call('ZREM', leases, ARGV[1])
redis.call('HSET', job, 'state', ARGV[3], 'finished', now)
for i = 6, #ARGV, 2 do redis.call('HSET', job, ARGV[i], ARGV[i + 1]) end
redis.call('HDEL', job, 'spec')
redis.call('EXPIRE', job, ARGV[4])
redis.call('XADD', stream, '*', 'end', ARGV[3])
redis.call('EXPIRE', stream, ARGV[5])
note(job, ARGV[1], KEYS[5], KEYS[6])
return 1
"""
)

# A chunk of audio of one attempt. With a sample rate (ARGV[5]) it is the attempt's first, and what
# a listener needs to begin goes before it. Nothing is written for a job that has ended or was
# leased anew. What was spoken is summed up by engine: an engine that hangs shows at once.
WRITE = (
    NOW
    + """
local job, stream = KEYS[1], KEYS[2]
local f = redis.call('HMGET', job, 'state', 'attempts', 'created', 'started', 'upload_s',
                     'engine', 'preview', 'upload_bytes', 'mode')
if f[1] ~= 'running' or f[2] ~= ARGV[1] then return 0 end
if ARGV[5] ~= '0' then
  redis.call('HSETNX', job, 'first_audio', now)
  redis.call('XADD', stream, '*', 'start', ARGV[1], 'rate', ARGV[5], 'engine', f[6],
             'preview', f[7], 'upload_s', f[5], 'queue_s', f[4] - f[3], 'ttfa_s', now - f[3],
             'upload_bytes', f[8], 'mode', f[9],
             'first_audio', redis.call('HGET', job, 'first_audio'))
end
redis.call('HSET', job, 'spoken_s', ARGV[3])
redis.call('XADD', stream, '*', 'pcm', ARGV[2], 'attempt', ARGV[1])
redis.call('EXPIRE', stream, ARGV[4])
redis.call('HINCRBYFLOAT', KEYS[3], f[6], ARGV[6])
return 1
"""
)

# What nobody has counted yet, handed to one caller and forgotten.
TAKE = """
local ended, spoken = redis.call('LRANGE', KEYS[1], 0, -1), redis.call('HGETALL', KEYS[2])
redis.call('DEL', KEYS[1], KEYS[2])
return {ended, spoken}
"""

# All that is known of a job, its audio included.
FORGET = """
redis.call('DEL', KEYS[1], KEYS[2])
for i = 3, #KEYS do redis.call('ZREM', KEYS[i], ARGV[1]) end
return 1
"""

ALL = (SUBMIT, CLAIM, RELEASE, RENEW, FINISH, FORGET, TAKE)

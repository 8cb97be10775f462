-- Writes to the clients in Redis as one step: everything, or nothing where something is not as it was when it was read.
--
-- KEYS  every key that is looked at or written. The first one counts changes: released hubs do not know it.
-- ARGV  how many looks; for each: the number of its key and what must be found there,
--           "=" and the text, "" for no key at all, or "#" and how many members a set has;
--       then the writes; for each: how many words follow, the command, the number of its key, its other words.
--       Those of records (SET) come first: where one fails, nothing has been written yet.
--
-- Returns how many changes there have been with this one; nothing where something was not as it was.

local function found(key, wanted)
    if wanted == '' then
        return redis.call('EXISTS', key) == 1 and '=' or ''
    elseif wanted:sub(1, 1) == '#' then
        local members = redis.pcall('SCARD', key)
        return '#' .. (type(members) == 'number' and members or 0)
    end
    return redis.call('TYPE', key).ok == 'string' and '=' .. redis.call('GET', key) or ''
end

-- An index is made of the records. One that is no set or hash is nobody's, and gives way to one that is.
local function write(command, key, ...)
    if command == 'SET' then
        return redis.call(command, key, ...)
    end
    local done = redis.pcall(command, key, ...)
    if type(done) == 'table' and done.err then
        redis.call('DEL', key)
        redis.call(command, key, ...)
    end
end

local at = 2
for _ = 1, tonumber(ARGV[1]) do
    if found(KEYS[tonumber(ARGV[at])], ARGV[at + 1]) ~= ARGV[at + 1] then
        return false
    end
    at = at + 2
end
while at <= #ARGV do
    local last = at + tonumber(ARGV[at])
    write(ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], unpack(ARGV, at + 3, last))
    at = last + 1
end
return redis.call('INCR', KEYS[1])

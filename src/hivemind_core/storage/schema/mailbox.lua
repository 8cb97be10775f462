-- Messages that wait for clients who are not here, of all hubs of a cluster; each request is one step.
-- Boxes and senders are SHA-256 of access keys, in hex: no key is stored.
--
-- KEYS  totals        hash: number, that of the last message; bytes, of all that wait
--       messages      hash: number -> JSON of an INTERCOM, as it was given
--       about         hash: number -> JSON of [box, sender, size in bytes, id, end]
--       ends          sorted set: number, by its end (unix time, seconds)
--       order         sorted set, by name: box:number
--       boxes         hash: box -> how many messages wait
--       senders       hash: sender -> how many messages wait
--       sender_bytes  hash: sender -> bytes that wait
--       imported      set: what was taken over
-- ARGV  the request, the time now (unix time, seconds), and what the functions below say
--
-- All but `collect` remove first what has expired, and return 'again', having done nothing else, where there is more.

local TOTALS, MESSAGES, ABOUT, ENDS, ORDER = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local BOXES, SENDERS, SENDER_BYTES, IMPORTED = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local NOW = ARGV[2]
local AT_ONCE = 500

local function count(key, field, by)
    if redis.call('HINCRBY', key, field, by) <= 0 then
        redis.call('HDEL', key, field)
    end
end

local function counted(box, sender, size, messages)
    count(BOXES, box, messages)
    count(SENDERS, sender, messages)
    count(SENDER_BYTES, sender, size * messages)
    count(TOTALS, 'bytes', size * messages)
end

local function about(number)
    local found = redis.call('HGET', ABOUT, number)
    return found and cjson.decode(found)
end

local function remove(number)
    local one = about(number)
    redis.call('ZREM', ENDS, number)
    redis.call('HDEL', MESSAGES, number)
    redis.call('HDEL', ABOUT, number)
    if one then
        redis.call('ZREM', ORDER, one[1] .. ':' .. number)
        counted(one[1], one[2], one[3], -1)
    end
end

-- Returns whether there may be more.
local function sweep()
    local late = redis.call('ZRANGEBYSCORE', ENDS, '-inf', NOW, 'LIMIT', 0, AT_ONCE)
    for _, number in ipairs(late) do
        remove(number)
    end
    return #late == AT_ONCE
end

-- The first write is of the message: where Redis is full, nothing is written.
local function keep(box, sender, size, id, ends, payload)
    local last = tonumber(redis.call('HGET', TOTALS, 'number') or 0)
    local number = string.format('%015d', last + 1)
    redis.call('HSET', MESSAGES, number, payload)
    redis.call('HSET', ABOUT, number, cjson.encode({box, sender, tonumber(size), id, ends}))
    redis.call('HSET', TOTALS, 'number', last + 1)
    redis.call('ZADD', ENDS, ends, number)
    redis.call('ZADD', ORDER, 0, box .. ':' .. number)
    counted(box, sender, size, 1)
end

-- The numbers of what waits in a box, the oldest first, some at a time.
local function pages(box)
    local from = '[' .. box .. ':'
    return function()
        local page = redis.call('ZRANGEBYLEX', ORDER, from, '(' .. box .. ';', 'LIMIT', 0, AT_ONCE)
        if #page == 0 then
            return nil
        end
        from = '(' .. page[#page]
        for at, member in ipairs(page) do
            page[at] = member:sub(#box + 2)
        end
        return page
    end
end

local requests = {}

-- box, sender, size, id, end, message; then, for each bound: its figure, the most it may be, why a message is refused
-- beyond. Returns the reason, or 'ok'.
function requests.deposit()
    if sweep() then
        return 'again'
    end
    local box, sender = ARGV[3], ARGV[4]
    local in_box = tonumber(redis.call('HGET', BOXES, box) or 0)
    local standing = {
        in_box = in_box,
        from_sender = tonumber(redis.call('HGET', SENDERS, sender) or 0),
        sender_bytes = tonumber(redis.call('HGET', SENDER_BYTES, sender) or 0),
        boxes_before_new = in_box == 0 and redis.call('HLEN', BOXES) or 0,
        total_bytes = tonumber(redis.call('HGET', TOTALS, 'bytes') or 0),
    }
    for at = 9, #ARGV, 3 do
        if standing[ARGV[at]] > tonumber(ARGV[at + 1]) then
            return ARGV[at + 2]
        end
    end
    keep(unpack(ARGV, 3, 8))
    return 'ok'
end

-- box, bytes that one reply holds. Returns ids and messages, in turns; always one if there is any. Writes nothing.
function requests.collect()
    local found, room = {}, tonumber(ARGV[4])
    for page in pages(ARGV[3]) do
        for _, number in ipairs(page) do
            local one = about(number)
            if one and tonumber(one[5]) > tonumber(NOW) then
                room = room - one[3]
                if #found > 0 and room < 0 then
                    return found
                end
                found[#found + 1] = one[4]
                found[#found + 1] = redis.call('HGET', MESSAGES, number) or ''
            end
        end
    end
    return found
end

-- box, ids. Returns how many messages were removed.
function requests.ack()
    if sweep() then
        return 'again'
    end
    local named, removed = {}, 0
    for at = 4, #ARGV do
        named[ARGV[at]] = true
    end
    for page in pages(ARGV[3]) do
        for _, number in ipairs(page) do
            local one = about(number)
            if one and named[one[4]] then
                remove(number)
                removed = removed + 1
            end
        end
    end
    return removed
end

-- what is taken over; then, for each message: box, sender, size, id, end, message. Returns how many there are.
function requests.take_over()
    if redis.call('SADD', IMPORTED, ARGV[3]) == 0 then
        return 0
    end
    for at = 4, #ARGV, 6 do
        keep(unpack(ARGV, at, at + 5))
    end
    return (#ARGV - 3) / 6
end

return requests[ARGV[1]]()

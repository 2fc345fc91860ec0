-- Purpose: find the key that the limit of a request counts by; the last part of a function of
--   poll.lua, after scan.lua.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: a function, and text_field.
-- Derived keys: none.
-- Cost: O(tokens up to the field).

-- The part of a request in which the limit's field is searched for, bytes.
local FIELD_LIMIT = 65536

-- Returns the key that a value counts by, as written: 1, 1.0 and "1" are three. A short, plain
-- string is its own key; '=' and '#' never occur in a plain one.
local function key_of(literal)
  local text, mark = literal, '='
  if string.byte(literal) == 34 then
    text, mark = meaning(literal) or literal, ''
  elseif not string.find(literal, '^[-%dtf]') then
    return '' -- null
  end
  if #text > 64 or string.find(text, '[^%w_.@+-]') then
    return '#' .. redis.sha1hex(mark .. text)
  end
  return mark .. text
end

-- Returns the position of a request's data: most begin with id, name and data.
local function data_of(text)
  local at = string.match(text, '^%s*{%s*"id"%s*:%s*"[%w_-]+"%s*,%s*"name"%s*:%s*"[^"\\]*"%s*,%s*'
    .. '"data"%s*:%s*()')
  if at then return at end
  local opens = string.match(text, '^%s*{()')
  return opens and find_field(text, opens - 1, 'data')
end

-- Returns the key that field `name` of a request's data has.
local function place_of(raw, name)
  local text = #raw > FIELD_LIMIT and string.sub(raw, 1, FIELD_LIMIT) or raw
  local data = data_of(text)
  if not data or string.byte(text, data) ~= 123 then return '' end
  local at = find_field(text, data, name)
  local literal = at and literal_at(text, at)
  return literal and key_of(literal) or ''
end

return place_of, text_field

-- Purpose: find a field of a JSON object without decoding the object; part of the scripts that read
--   requests and frames, after scanned.lua. Redis must not decode them: 2 MiB of brackets take
--   150 ms.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(tokens up to the field), about 0.15 us each; `scanned` counts them.

-- Returns the position after the string literal that opens at `at`; nil if `text` ends before.
local function after_string(text, at)
  while true do
    at = string.find(text, '["\\]', at + 1)
    if not at then return nil end
    if string.byte(text, at) == 34 then return at + 1 end
    at = at + 1
  end
end

-- Returns the text of a string literal; nil if it is not valid. Decodes only the literal.
local function meaning(literal)
  if not string.find(literal, '\\', 1, true) then return string.sub(literal, 2, -2) end
  if #literal > 65536 then return nil end
  local ok, decoded = pcall(cjson.decode, '[' .. literal .. ']')
  return ok and decoded[1]
end

-- Returns the position of the value of field `name` in the object that opens at `at`: of the first
-- field of that name; nil if the object has none, or `text` ends before it.
local function find_field(text, at, name)
  local depth = 0
  while true do
    at = string.find(text, '["%[%]{}]', at + 1)
    if not at then return nil end
    scanned = scanned + 1
    local char = string.byte(text, at)
    if char == 34 then
      local after = after_string(text, at)
      if not after then return nil end
      if depth == 0 then
        local value = string.match(text, '^%s*:%s*()', after)
        if value and meaning(string.sub(text, at, after - 1)) == name then return value end
      end
      at = after - 1
    elseif char == 91 or char == 123 then
      depth = depth + 1
    elseif depth == 0 then
      return nil
    else
      depth = depth - 1
    end
  end
end

-- Returns the literal at `at`, a string's with its quotes; nil if it is another kind of value.
local function literal_at(text, at)
  if string.byte(text, at) ~= 34 then return string.match(text, '^[%w+.-]+', at) end
  local after = after_string(text, at)
  return after and string.sub(text, at, after - 1)
end

-- Returns the text of a top-level string field. The field has to be in the first 4 KiB.
local function text_field(raw, name)
  local head = #raw > 4096 and string.sub(raw, 1, 4096) or raw
  local opens = string.match(head, '^%s*{()')
  local at = opens and find_field(head, opens - 1, name)
  local literal = at and literal_at(head, at)
  if literal and string.byte(literal) == 34 then return meaning(literal) end
end

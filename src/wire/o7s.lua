-- Wireshark dissector of Ouroboros (o7s), protocol version 0.23 of the reference.
--
-- Save as o7s.lua in Wireshark's folder of personal plugins, or: tshark -X lua_script:o7s.lua -r FILE
--
-- It follows the flows: requests and replies tell which EIDs are a flow's, whether its packets have an FRCT header, a
-- checksum, encryption, and which flows carry another layer. A capture that begins later shows less. Encrypted packets
-- stay closed, because Lua has no ciphers here: have the stack write them in the clear (CaptureConfig::flows), or use odump.
--
-- The names of the fields are documented with the decoder of the crate (o7s::dissect) and stay as they are.

local MAX_DEPTH = 16
local MGMT_LEN = 47
local SEALED = 28

local o7s = Proto("o7s", "Ouroboros")
local udp = Proto("o7s.udp", "Ouroboros, UDP shim")
local eth = Proto("o7s.eth", "Ouroboros, Ethernet shim")
local llc = Proto("o7s.llc", "Ouroboros, Ethernet shim, LLC")
local oap = Proto("o7s.oap", "Ouroboros, flow allocation with security (OAP)")
local dt = Proto("o7s.dt", "Ouroboros, data transfer")
local fa = Proto("o7s.fa", "Ouroboros, flow allocator")
local dht = Proto("o7s.dht", "Ouroboros, directory")
local lsu = Proto("o7s.lsu", "Ouroboros, link state")
local frct = Proto("o7s.frct", "Ouroboros, flow and retransmission control (FRCT)")
local cep = Proto("o7s.cep", "Ouroboros, connection establishment (CEP)")
local enroll = Proto("o7s.enroll", "Ouroboros, enrollment")
local shown = Proto("o7s.capture", "Ouroboros, packet of a flow")

o7s.prefs.ports = Pref.range("UDP ports", "3435", "Ports of layers over UDP", 65535)
o7s.prefs.ethertype = Pref.uint("EtherType", 0xA000, "EtherType of layers over Ethernet")
o7s.prefs.llc = Pref.bool("LLC frames", true, "Frames with the SAPs that layers over LLC use")
o7s.prefs.hash_len = Pref.uint("Length of hashes", 32, "Bytes of a hashed name, where no enrollment tells")
o7s.prefs.addr_size = Pref.uint("Length of addresses", 4, "Bytes of an address, where no enrollment tells")

-- Fields, by protocol: name, kind, and for numbers what values mean, or the bits they are of.

local F = {}

local function fields(proto, list)
  local made = {}
  for _, f in ipairs(list) do
    local name, kind, what, arg = f[1], f[2], f[3], f[4]
    local abbrev = proto.name:lower() .. "." .. name
    local field
    if kind == "bytes" or kind == "string" then
      field = ProtoField[kind](abbrev, what)
    elseif type(arg) == "number" then
      field = ProtoField[kind](abbrev, what, base.DEC, nil, arg)
    else
      field = ProtoField[kind](abbrev, what, base.DEC, arg)
    end
    F[abbrev] = field
    made[#made + 1] = field
  end
  proto.fields = made
end

local YES = { [0] = "no", [1] = "yes" }
local CIPHERS = { [0] = "none", [904] = "aes-128-ctr", [905] = "aes-192-ctr", [906] = "aes-256-ctr",
  [895] = "aes-128-gcm", [898] = "aes-192-gcm", [901] = "aes-256-gcm", [1018] = "chacha20-poly1305" }
local HASHES = { [0] = "none", [1057] = "blake2s256", [672] = "sha256", [1097] = "sha3-256", [673] = "sha384",
  [1098] = "sha3-384", [1056] = "blake2b512", [674] = "sha512", [1099] = "sha3-512" }
local HASH_LEN = { [0] = 48, [1057] = 32, [672] = 32, [1097] = 32, [673] = 48, [1098] = 48, [1056] = 64,
  [674] = 64, [1099] = 64 }
-- Of directories: SHA3-224, -256, -384, -512.
local DIR_HASH_LEN = { [0] = 28, [1] = 32, [2] = 48, [3] = 64 }

local QOS = {
  { "delay", "uint32", "Delay, ms" }, { "bandwidth", "uint64", "Bandwidth, bit/s" },
  { "availability", "uint8", "Availability, nines" }, { "loss", "uint32", "Loss" },
  { "ber", "uint32", "Bit errors per 10^9" }, { "max_gap", "uint32", "Longest gap, ms" },
  { "timeout", "uint32", "Timeout, ms" }, { "in_order", "uint8", "In order", YES },
}

local function with_qos(list)
  for _, f in ipairs(QOS) do list[#list + 1] = f end
  return list
end

fields(o7s, {
  { "flow.number", "uint64", "Flow" }, { "flow.qos", "string", "Quality of service" },
  { "flow.to", "string", "To the" },
  { "flow.request_frame", "uint32", "Requested in frame" }, { "flow.reply_frame", "uint32", "Accepted in frame" },
  { "crc", "uint32", "Checksum" }, { "payload", "uint32", "Payload, bytes" },
  { "undecoded", "uint32", "Not understood, bytes" },
  { "sealed.iv", "bytes", "Initialisation vector" }, { "sealed.length", "uint32", "Encrypted, bytes" },
  { "sealed.tag", "bytes", "Tag" },
})
fields(udp, with_qos({
  { "eid", "uint32", "EID" }, { "s_eid", "uint32", "Source EID" }, { "d_eid", "uint32", "Destination EID" },
  { "response", "int32", "Response" }, { "code", "uint8", "Code", { [1] = "flow request", [2] = "flow reply" } },
  { "hash", "bytes", "Hash of the name" },
}))
fields(eth, with_qos({
  { "eid", "uint16", "EID" }, { "length", "uint16", "Length" }, { "dsap", "uint8", "Destination SAP" },
  { "ssap", "uint8", "Source SAP" }, { "s_eid", "uint16", "Source EID" }, { "d_eid", "uint16", "Destination EID" },
  { "response", "int32", "Response" },
  { "code", "uint8", "Code", { [0] = "flow request", [1] = "flow reply", [2] = "name query", [3] = "name answer" } },
  { "hash", "bytes", "Hash of the name" },
}))
fields(oap, {
  { "id", "bytes", "Id" }, { "timestamp", "uint64", "Time, ns since 1970" }, { "cipher", "uint16", "Cipher", CIPHERS },
  { "kdf", "uint16", "Key derivation", HASHES }, { "digest", "uint16", "Digest", HASHES },
  { "certificate_len", "uint16", "Certificate, bytes" }, { "kex_format", "uint16", "Key exchange in raw format", 0x8000 },
  { "kex_role", "uint16", "The client encapsulates", 0x4000 }, { "kex_len", "uint16", "Key exchange, bytes", 0x3fff },
  { "data_len", "uint16", "Data, bytes" }, { "certificate", "bytes", "Certificate" },
  { "kex", "bytes", "Key exchange" }, { "data", "bytes", "Data" }, { "request_hash", "bytes", "Hash of the request" },
  { "signature", "bytes", "Signature" },
})
fields(dt, {
  { "dst", "uint64", "Destination" }, { "qos", "uint8", "QoS cube" }, { "ttl", "uint8", "TTL" },
  { "ecn", "uint8", "ECN" }, { "eid", "uint64", "EID" },
})
fields(fa, with_qos({
  { "s_addr", "uint64", "Source address" }, { "r_eid", "uint64", "Receiver's EID" }, { "s_eid", "uint64", "Sender's EID" },
  { "response", "int32", "Response" }, { "ece", "uint16", "Congestion" },
  { "code", "uint8", "Code", { [0] = "flow request", [1] = "flow reply", [2] = "flow update" } },
  { "hash", "bytes", "Hash of the name" },
  { "report.asks", "uint8", "Asks for a report", 0x01 }, { "report.answers", "uint8", "Answers one", 0x02 },
  { "report.sent", "uint32", "Packets sent" }, { "report.delivered", "uint32", "Packets delivered" },
  { "report.marks", "uint32", "Sum of marks" }, { "report.echo", "uint32", "Packets sent, of the question" },
}))
fields(dht, {
  { "code", "uint32", "Code", { [0] = "store", [1] = "find node", [2] = "found node", [3] = "find value",
    [4] = "found value" } },
  { "src.id", "bytes", "Sender's id" }, { "src.addr", "uint64", "Sender's address" }, { "key", "bytes", "Key" },
  { "value", "uint64", "Value" }, { "expires", "uint32", "Expires, s since 1970" }, { "cookie", "uint64", "Cookie" },
  { "contact.id", "bytes", "Contact's id" }, { "contact.addr", "uint64", "Contact's address" },
  { "token", "uint64", "Token" }, { "padding", "uint32", "Padding, bytes" },
})
fields(lsu, {
  { "dst", "uint64", "Neighbour" }, { "src", "uint64", "Member" }, { "seqno", "uint64", "Sequence number" },
  { "age", "uint64", "Age, ms" },
})
fields(frct, {
  { "flags", "uint8", "Flags" }, { "flags.data", "uint8", "Data", 0x01 }, { "flags.drf", "uint8", "Data run", 0x02 },
  { "flags.ack", "uint8", "Acknowledgement", 0x04 }, { "flags.fc", "uint8", "Flow control", 0x08 },
  { "flags.rdvs", "uint8", "Rendez-vous", 0x10 }, { "flags.ffgm", "uint8", "First fragment", 0x20 },
  { "flags.mfgm", "uint8", "More fragments", 0x40 }, { "flags.end", "uint8", "End", 0x80 },
  { "window", "uint24", "Window" }, { "seqno", "uint32", "Sequence number" },
  { "ackno", "uint32", "Acknowledgement number" }, { "sack.first", "uint32", "Arrived from" },
  { "sack.end", "uint32", "Arrived to, not including" }, { "reason", "uint8", "Reason of the end" },
  { "piece.offset", "uint24", "Place of the piece in its packet" }, { "piece.total", "uint32", "Length of the packet" },
  { "probe", "uint32", "Path probe" }, { "probe.padding", "uint32", "Padding of the probe" },
  { "probe.answer", "uint32", "Answer to the path probe" },
})
fields(cep, {
  { "comp_name", "string", "Component" }, { "protocol", "string", "Protocol" }, { "pref_version", "int32", "Version" },
  { "supp_version", "int32", "Further version" }, { "pref_syntax", "int32", "Syntax" },
  { "address", "uint64", "Address" },
})
fields(enroll, {
  { "id", "bytes", "Id" }, { "t_sec", "int64", "Time, s since 1970" }, { "t_nsec", "int32", "and ns" },
  { "response", "int32", "Response" }, { "result", "int32", "Result" }, { "layer", "string", "Layer" },
  { "hash_algo", "uint32", "Hash", { [0] = "SHA3-224", [1] = "SHA3-256", [2] = "SHA3-384", [3] = "SHA3-512" } },
  { "ipcp_type", "uint32", "Kind", { [1] = "unicast", [2] = "broadcast" } }, { "addr_size", "uint32", "Bytes of an address" },
  { "eid_size", "uint32", "Bytes of an EID" }, { "max_ttl", "uint32", "TTL" }, { "routing_pol", "uint32", "Routing" },
  { "ls_pol", "uint32", "Routes", { [0] = "simple", [1] = "loop-free alternates", [2] = "equal-cost multipath" } },
  { "t_recalc", "uint32", "Recalculation, s" }, { "t_update", "uint32", "Update, s" }, { "t_timeo", "uint32", "Timeout, s" },
  { "dir_pol", "uint32", "Directory" }, { "alpha", "uint32", "Questions at a time" }, { "k", "uint32", "Contacts a bucket" },
  { "t_expire", "uint32", "Expiry, s" }, { "t_refresh", "uint32", "Refresh, s" }, { "t_replicate", "uint32", "Replication, s" },
  { "peer", "uint64", "Peer" }, { "addr_auth", "uint32", "Addresses" },
  { "cong_avoid", "uint32", "Congestion avoidance", { [0] = "none", [1] = "multi-bit ECN" } },
})
fields(shown, {
  { "flow", "uint64", "Flow in its stack" }, { "flags", "uint8", "Flags" },
})

-- What was seen: flows by their ends, members of layers, and what was found for each frame, which Wireshark may show again
-- in any order.

local flows, ends, layers, members, memo, ours
local turn = 0

local function forget()
  flows, ends, layers, members, memo, ours = {}, {}, {}, {}, {}, {}
end
o7s.init = forget
forget()

-- What `find` finds when the frame is seen for the first time, and the same whenever it is shown again.
local function remember(pinfo, find)
  local list = memo[pinfo.number]
  if not list then
    list = {}
    memo[pinfo.number] = list
  end
  turn = turn + 1
  if list[turn] == nil then list[turn] = find() or false end
  return list[turn] or nil
end

local function begin(pinfo)
  turn = 0
  pinfo.cols.protocol = "o7s"
  pinfo.cols.info = ""
end

local function say(pinfo, text)
  pinfo.cols.info:append(text)
end

local function key(scope, node, eid)
  return scope .. "|" .. node .. "|" .. eid
end

local function qos_name(flow)
  if not flow.frct then return "raw" end
  return flow.reliable and "reliable" or "ordered"
end

local function add_flow(tree, flow, to_requester)
  tree:add(F["o7s.flow.number"], UInt64(flow.number)):set_generated()
  tree:add(F["o7s.flow.qos"], qos_name(flow)):set_generated()
  if to_requester ~= nil then
    tree:add(F["o7s.flow.to"], to_requester and "requester" or "responder"):set_generated()
  end
  if flow.request_frame then tree:add(F["o7s.flow.request_frame"], flow.request_frame):set_generated() end
  if flow.reply_frame then tree:add(F["o7s.flow.reply_frame"], flow.reply_frame):set_generated() end
end

local function rest(tvb, pinfo, root)
  if tvb:len() == 0 then return end
  root:add(F["o7s.payload"], tvb(), tvb:len())
  Dissector.get("data"):call(tvb, pinfo, root)
end

local function undecoded(tvb, root)
  root:add(F["o7s.undecoded"], tvb:len() > 0 and tvb() or nil, tvb:len())
end

-- A request. `id` is that of its security header; repetitions have others at both ends.
local function requested(pinfo, scope, node, s_eid, qos, header, asked)
  return remember(pinfo, function()
    local at = key(scope, node, s_eid)
    local id = header and header.id or ""
    local flow = ends[at]
    if not (flow and flow.id == id) then
      flow = { number = #flows + 1, requester = node, s_eid = s_eid, id = id, asked = asked, frct = qos.in_order ~= 0,
        reliable = qos.in_order ~= 0 and qos.loss == 0, crc = qos.ber == 0, request_frame = pinfo.number }
      flows[#flows + 1] = flow
      ends[at] = flow
    end
    flow.digest = header and header.digest or 0
    return flow
  end)
end

-- The flow of a reply, before its security header is read.
local function replied(pinfo, scope, node, eid)
  return remember(pinfo, function() return ends[key(scope, node, eid)] end)
end

local function accepted(pinfo, flow, scope, node, eid, header)
  remember(pinfo, function()
    flow.cipher = header and header.cipher ~= 0 and header.cipher or nil
    flow.reply_frame = flow.reply_frame or pinfo.number
    ends[key(scope, node, eid)] = flow
    return true
  end)
end

-- Protocol Buffers: the fields between two offsets, or nil if it is none.

local function varint(tvb, at, stop)
  local value, shift = UInt64(0), 0
  while at < stop and shift < 70 do
    local byte = tvb(at, 1):uint()
    if shift < 64 then value = value + UInt64(byte % 128):lshift(shift) end
    at = at + 1
    if byte < 128 then return value, at end
    shift = shift + 7
  end
  return nil
end

local function protobuf(tvb, at, stop)
  local list = {}
  while at < stop do
    local start = at
    local tag
    tag, at = varint(tvb, at, stop)
    if not tag then return nil end
    tag = tag:tonumber()
    local field = { number = math.floor(tag / 8), kind = tag % 8 }
    if field.number == 0 then return nil end
    if field.kind == 0 then
      field.value, at = varint(tvb, at, stop)
      if not field.value then return nil end
    else
      local len
      if field.kind == 2 then
        len, at = varint(tvb, at, stop)
        if not len then return nil end
        len = len:tonumber()
      else
        len = ({ [1] = 8, [5] = 4 })[field.kind]
      end
      if not len or at + len > stop then return nil end
      field.at, field.stop = at, at + len
      at = at + len
    end
    field.range = tvb(start, at - start)
    list[#list + 1] = field
    list[-field.number] = field
  end
  return list
end

-- The last field of this number and kind.
local function part(list, number, kind)
  local field = list[-number]
  return field and field.kind == kind and field or nil
end

local function content(tvb, field)
  return field.stop > field.at and tvb(field.at, field.stop - field.at) or nil
end

local function text(tvb, field)
  local range = content(tvb, field)
  return range and range:string() or ""
end

local function signed(value)
  local low = value:lower()
  return low >= 0x80000000 and low - 0x100000000 or low
end

local function add_bytes(tree, name, tvb, field)
  local range = content(tvb, field)
  if range then tree:add(F[name], range) end
end

-- OAP.

-- The length of the hash in a reply to a request that was not seen: the usual ones, the default first.
local function guess_hash(len, fixed, certified)
  for _, hash in ipairs({ 48, 32, 64 }) do
    if fixed + hash == len or (certified and fixed + hash <= len) then return hash end
  end
end

local function security(tvb, root, hash)
  local len = tvb:len()
  if len < 36 then return undecoded(tvb, root) end
  local certificate, kex, data = tvb(30, 2):uint(), tvb(32, 2):uint() % 0x4000, tvb(34, 2):uint()
  local fixed = 36 + certificate + kex + data
  hash = hash or guess_hash(len, fixed, certificate > 0)
  if not hash or fixed + hash > len then return undecoded(tvb, root) end
  local tree = root:add(oap, tvb())
  tree:add(F["o7s.oap.id"], tvb(0, 16))
  tree:add(F["o7s.oap.timestamp"], tvb(16, 8))
  for i, name in ipairs({ "cipher", "kdf", "digest", "certificate_len" }) do
    tree:add(F["o7s.oap." .. name], tvb(22 + 2 * i, 2))
  end
  for _, name in ipairs({ "kex_format", "kex_role", "kex_len" }) do tree:add(F["o7s.oap." .. name], tvb(32, 2)) end
  tree:add(F["o7s.oap.data_len"], tvb(34, 2))
  local at = 36
  local variable = { { "certificate", certificate }, { "kex", kex }, { "data", data }, { "request_hash", hash },
    { "signature", len - fixed - hash } }
  for _, field in ipairs(variable) do
    if field[2] > 0 then tree:add(F["o7s.oap." .. field[1]], tvb(at, field[2])) end
    at = at + field[2]
  end
  local cipher = tvb(24, 2):uint()
  if cipher ~= 0 then tree:append_text(", " .. (CIPHERS[cipher] or cipher)) end
  return { id = tostring(tvb(2, 8):bytes()), digest = tvb(28, 2):uint(), cipher = cipher }
end

-- The security header at the end of a request or reply.
local function security_at(tvb, at, root, hash)
  if tvb:len() <= at then
    return undecoded(tvb(0, 0):tvb(), root)
  end
  return security(tvb(at):tvb(), root, hash)
end

local function hash_of(flow)
  return flow and HASH_LEN[flow.digest] or nil
end

-- Flows of FRCT.

local function end_of_sack(tvb)
  local len = tvb:len()
  if len < 10 or tvb(0, 1):uint() ~= 0x53 then return nil end
  local n = tvb(1, 1):uint()
  if n == 0 or n > 32 or len ~= 2 + 8 * n then return nil end
  return n
end

local function retransmission(tvb, pinfo, root)
  if tvb:len() < 12 then return undecoded(tvb, root) end
  local tree = root:add(frct, tvb(0, 12))
  local flags = tvb(0, 1):uint()
  local has = function(bit) return math.floor(flags / bit) % 2 == 1 end
  local list = tree:add(F["o7s.frct.flags"], tvb(0, 1))
  local names = {}
  for i, name in ipairs({ "data", "drf", "ack", "fc", "rdvs", "ffgm", "mfgm", "end" }) do
    list:add(F["o7s.frct.flags." .. name], tvb(0, 1))
    if has(2 ^ (i - 1)) then names[#names + 1] = name end
  end
  tree:add(F["o7s.frct.window"], tvb(1, 3))
  tree:add(F["o7s.frct.seqno"], tvb(4, 4))
  tree:add(F["o7s.frct.ackno"], tvb(8, 4))
  local said = table.concat(names, "|") .. " seq " .. tvb(4, 4):uint() .. " ack " .. tvb(8, 4):uint()
  -- What goes because of the path: pieces of packets, probes and their answers.
  local path = has(16) and has(128)
  if path and has(1) then
    tree:add(F["o7s.frct.piece.offset"], tvb(1, 3))
    tree:add(F["o7s.frct.piece.total"], tvb(8, 4))
    said = said .. " piece"
  elseif path and has(4) then
    tree:add(F["o7s.frct.probe.answer"], tvb(8, 4))
    said = said .. " path answer"
  elseif path then
    tree:add(F["o7s.frct.probe"], tvb(4, 4))
    tree:add(F["o7s.frct.probe.padding"], tvb(0), tvb:len() - 12)
    said = said .. " path probe"
  end
  tree:append_text(", " .. said)
  say(pinfo, " frct " .. said)
  if tvb:len() == 12 or path and not has(1) and not has(4) then return end
  local behind = tvb(12):tvb()
  local blocks = has(4) and not has(1) and not path and end_of_sack(behind)
  if has(128) and not path and behind:len() == 1 then
    tree:add(F["o7s.frct.reason"], behind(0, 1))
  elseif blocks then
    for i = 0, blocks - 1 do
      tree:add(F["o7s.frct.sack.first"], behind(2 + 8 * i, 4))
      tree:add(F["o7s.frct.sack.end"], behind(6 + 8 * i, 4))
    end
  else
    rest(behind, pinfo, root)
  end
end

-- Members of layers.

local COMPONENTS = { ["Enrollment"] = "enrollment", ["Management"] = "management", ["Data Transfer"] = "data" }

-- The fields of a CEP message, if it is one.
local function connection(tvb)
  if tvb:len() > 127 then return nil end
  local list = protobuf(tvb, 0, tvb:len())
  if not list then return nil end
  for _, needed in ipairs({ { 1, 2 }, { 2, 2 }, { 3, 0 }, { 5, 0 }, { 8, 0 } }) do
    if not part(list, needed[1], needed[2]) then return nil end
  end
  local name = text(tvb, list[-1])
  if name ~= "" and not COMPONENTS[name] then return nil end
  local component = COMPONENTS[name]
  if component == "data" and text(tvb, list[-2]) == "" then component = "broadcast" end
  return list, component
end

local function show_connection(tvb, pinfo, root, list)
  local tree = root:add(cep, tvb())
  tree:add(F["o7s.cep.comp_name"], list[-1].range, text(tvb, list[-1]))
  tree:add(F["o7s.cep.protocol"], list[-2].range, text(tvb, list[-2]))
  tree:add(F["o7s.cep.pref_version"], list[-3].range, signed(list[-3].value))
  for _, field in ipairs(list) do
    if field.number == 4 and field.kind == 0 then
      tree:add(F["o7s.cep.supp_version"], field.range, signed(field.value))
    end
  end
  tree:add(F["o7s.cep.pref_syntax"], list[-5].range, signed(list[-5].value))
  tree:add(F["o7s.cep.address"], list[-8].range, list[-8].value)
  say(pinfo, " cep " .. text(tvb, list[-1]))
end

-- The parts of an enrollment's configuration: where they are, and what they are called.
local CONFIGURATION = {
  { { 2 }, "ipcp_type" }, { { 3, 1, 1 }, "addr_size" }, { { 3, 1, 2 }, "eid_size" }, { { 3, 1, 3 }, "max_ttl" },
  { { 3, 1, 4, 1 }, "routing_pol" }, { { 3, 1, 4, 2, 1 }, "ls_pol" }, { { 3, 1, 4, 2, 2 }, "t_recalc" },
  { { 3, 1, 4, 2, 3 }, "t_update" }, { { 3, 1, 4, 2, 4 }, "t_timeo" }, { { 3, 2, 1 }, "dir_pol" },
  { { 3, 2, 2, 1 }, "alpha" }, { { 3, 2, 2, 2 }, "k" }, { { 3, 2, 2, 3 }, "t_expire" }, { { 3, 2, 2, 4 }, "t_refresh" },
  { { 3, 2, 2, 5 }, "t_replicate" }, { { 3, 2, 2, 6 }, "peer" }, { { 3, 3 }, "addr_auth" }, { { 3, 4 }, "cong_avoid" },
}

local function find(tvb, list, path)
  for i, number in ipairs(path) do
    local field = list[-number]
    if not field then return nil end
    if i == #path then return field.kind == 0 and field or nil end
    if field.kind ~= 2 then return nil end
    list = protobuf(tvb, field.at, field.stop)
    if not list then return nil end
  end
end

local function configuration(tvb, pinfo, tree, conf, scope)
  local list = protobuf(tvb, conf.at, conf.stop)
  local info = list and part(list, 1, 2)
  local layer = info and protobuf(tvb, info.at, info.stop)
  if not layer or not part(layer, 1, 2) or not part(layer, 2, 0) then return end
  tree:add(F["o7s.enroll.layer"], layer[-1].range, text(tvb, layer[-1]))
  tree:add(F["o7s.enroll.hash_algo"], layer[-2].range, layer[-2].value:tonumber())
  local known = { hash_len = DIR_HASH_LEN[layer[-2].value:tonumber()] or 32, addr_size = o7s.prefs.addr_size }
  for _, field in ipairs(CONFIGURATION) do
    local found = find(tvb, list, field[1])
    if found then
      local value = found.value
      if field[2] ~= "peer" then value = value:tonumber() end
      if field[2] == "addr_size" and value >= 1 and value <= 8 then known.addr_size = value end
      tree:add(F["o7s.enroll." .. field[2]], found.range, value)
    end
  end
  remember(pinfo, function()
    layers[scope + 2] = known
    return known
  end)
end

local function enrollment(tvb, pinfo, root, scope)
  local list = protobuf(tvb, 0, tvb:len())
  if not list or not part(list, 1, 2) then return undecoded(tvb, root) end
  local tree = root:add(enroll, tvb())
  say(pinfo, " enrollment")
  add_bytes(tree, "o7s.enroll.id", tvb, list[-1])
  if part(list, 4, 0) and part(list, 2, 0) and part(list, 3, 0) then
    local seconds = list[-2].value
    tree:add(F["o7s.enroll.t_sec"], list[-2].range, Int64(seconds:lower(), seconds:higher()))
    tree:add(F["o7s.enroll.t_nsec"], list[-3].range, signed(list[-3].value))
    tree:add(F["o7s.enroll.response"], list[-4].range, signed(list[-4].value))
    if part(list, 5, 2) then configuration(tvb, pinfo, tree, list[-5], scope) end
  elseif part(list, 2, 0) then
    tree:add(F["o7s.enroll.result"], list[-2].range, signed(list[-2].value))
  end
end

local function link_state(tvb, pinfo, root)
  local len = tvb:len()
  if len == 0 or len % 24 ~= 0 then return undecoded(tvb, root) end
  local tree = root:add(lsu, tvb())
  say(pinfo, " link state")
  for at = 0, len - 24, 24 do
    local dst, src = tvb(at, 8), tvb(at + 8, 8)
    if dst:uint64() == UInt64(0) and src:uint64() == UInt64(0) then
      tree:add(F["o7s.lsu.age"], tvb(at + 16, 8))
    else
      tree:add(F["o7s.lsu.dst"], dst)
      tree:add(F["o7s.lsu.src"], src)
      tree:add(F["o7s.lsu.seqno"], tvb(at + 16, 8))
    end
  end
end

-- Where the parts of a message of the directory are, by its code.

local function is_hash(field, len)
  return field and field.stop - field.at == len
end

local function address_bytes(tvb, field)
  if field.stop - field.at ~= 8 then return nil end
  local value = tvb(field.at, 8):uint64()
  return value ~= UInt64(0) and value or nil
end

local function contact(tvb, field, len)
  local list = protobuf(tvb, field.at, field.stop)
  if not list or not is_hash(part(list, 1, 2), len) or not part(list, 2, 0) then return nil end
  if list[-2].value == UInt64(0) then return nil end
  return list
end

local function lookups(tvb, tree, code, list, len)
  if code == 0 then
    local store = part(list, 3, 2) and protobuf(tvb, list[-3].at, list[-3].stop)
    if not store then return end
    if part(store, 1, 2) then add_bytes(tree, "o7s.dht.key", tvb, store[-1]) end
    local value = part(store, 2, 2) and address_bytes(tvb, store[-2])
    if value then tree:add(F["o7s.dht.value"], store[-2].range, value) end
    if part(store, 3, 0) then tree:add(F["o7s.dht.expires"], store[-3].range, store[-3].value:tonumber()) end
    return
  end
  local number = (code == 1 or code == 3) and 4 or 5
  local asked = part(list, number, 2) and protobuf(tvb, list[-number].at, list[-number].stop)
  if not asked then return end
  if part(asked, 1, 0) then tree:add(F["o7s.dht.cookie"], asked[-1].range, asked[-1].value) end
  if part(asked, 2, 2) then add_bytes(tree, "o7s.dht.key", tvb, asked[-2]) end
  for _, field in ipairs(asked) do
    local found = number == 5 and field.number == 3 and field.kind == 2 and contact(tvb, field, len)
    if found then
      add_bytes(tree, "o7s.dht.contact.id", tvb, found[-1])
      tree:add(F["o7s.dht.contact.addr"], found[-2].range, found[-2].value)
    end
  end
  local values = code == 4 and part(list, 6, 2) and protobuf(tvb, list[-6].at, list[-6].stop)
  for _, field in ipairs(values or {}) do
    local value = field.number == 1 and field.kind == 2 and address_bytes(tvb, field)
    if value then tree:add(F["o7s.dht.value"], field.range, value) end
  end
end

local function directory(tvb, pinfo, root, len)
  local list = tvb:len() > 0 and protobuf(tvb, 0, tvb:len())
  local src = list and part(list, 1, 0) and part(list, 2, 2) and contact(tvb, list[-2], len)
  if not src then return undecoded(tvb, root) end
  local tree = root:add(dht, tvb())
  local code = list[-1].value:tonumber()
  tree:add(F["o7s.dht.code"], list[-1].range, code)
  add_bytes(tree, "o7s.dht.src.id", tvb, src[-1])
  tree:add(F["o7s.dht.src.addr"], src[-2].range, src[-2].value)
  lookups(tvb, tree, code, list, len)
  local own = part(list, 20, 2)
  if own and own.stop - own.at >= 8 then
    tree:add(F["o7s.dht.token"], tvb(own.at, 8))
    tree:add(F["o7s.dht.padding"], own.range, own.stop - own.at - 8)
  end
  say(pinfo, " directory")
end

-- The QoS of a message: where each field is.
local function add_qos(tree, prefix, tvb, places)
  for _, f in ipairs(QOS) do
    local at = places[f[1]]
    local len = ({ uint64 = 8, uint32 = 4, uint8 = 1 })[f[2]]
    tree:add(F[prefix .. f[1]], tvb(at, len))
  end
  return { in_order = tvb(places.in_order, 1):uint(), loss = tvb(places.loss, 4):uint(), ber = tvb(places.ber, 4):uint() }
end

local FA_QOS = { bandwidth = 24, delay = 36, loss = 40, ber = 44, max_gap = 48, timeout = 52, availability = 59, in_order = 60 }

local function report(tvb, tree)
  if tvb:len() ~= 61 + 20 or tvb(61, 1):uint() ~= 1 then return end
  tree:add(F["o7s.fa.report.asks"], tvb(62, 1))
  tree:add(F["o7s.fa.report.answers"], tvb(62, 1))
  for i, name in ipairs({ "sent", "delivered", "marks", "echo" }) do
    tree:add(F["o7s.fa.report." .. name], tvb(61 + 4 * i, 4))
  end
end

local function allocation(tvb, pinfo, root, scope, member, len)
  if tvb:len() < 61 then return undecoded(tvb, root) end
  local code = tvb(58, 1):uint()
  local ahead = 61 + (code == 0 and len or 0)
  if code > 2 or tvb:len() < ahead then return undecoded(tvb, root) end
  local tree = root:add(fa, tvb(0, ahead))
  tree:add(F["o7s.fa.s_addr"], tvb(0, 8))
  tree:add(F["o7s.fa.r_eid"], tvb(8, 8))
  tree:add(F["o7s.fa.s_eid"], tvb(16, 8))
  tree:add(F["o7s.fa.response"], tvb(32, 4))
  local qos = add_qos(tree, "o7s.fa.", tvb, FA_QOS)
  tree:add(F["o7s.fa.ece"], tvb(56, 2))
  tree:add(F["o7s.fa.code"], tvb(58, 1))
  local s_eid = tostring(tvb(16, 8):uint64())
  if code == 0 then
    tree:add(F["o7s.fa.hash"], tvb(61, len))
    local header = security_at(tvb, ahead, root, 0)
    local flow = requested(pinfo, scope, tostring(tvb(0, 8):uint64()), s_eid, qos, header, member)
    add_flow(tree, flow)
    say(pinfo, " flow request")
  elseif code == 1 then
    local flow = replied(pinfo, scope, member, tostring(tvb(8, 8):uint64()))
    local response = tvb(32, 4):int()
    local header = response == 0 and security_at(tvb, ahead, root, hash_of(flow)) or nil
    if flow then
      add_flow(tree, flow)
      if response == 0 and flow.asked then accepted(pinfo, flow, scope, flow.asked, s_eid, header) end
    end
    say(pinfo, " flow reply")
  else
    report(tvb, tree)
    say(pinfo, " flow update")
  end
end

local data

-- What the ends of a flow without FRCT may say to each other: how it ends, a token and a byte, or whether one has moved, a
-- byte, a number and a proof. Token and proof cannot be computed here, so this is only asked where nothing else makes sense.
local function is_said(tvb)
  local len = tvb:len()
  return len == 17 and tvb(16, 1):uint() <= 3 or len == 25 and (tvb(0, 1):uint() == 1 or tvb(0, 1):uint() == 2)
end

local function transfer(tvb, pinfo, root, scope)
  local layer = remember(pinfo, function() return layers[scope] end)
  local size = layer and layer.addr_size or o7s.prefs.addr_size
  local len = layer and layer.hash_len or o7s.prefs.hash_len
  if tvb:len() < size + 11 then return undecoded(tvb, root) end
  local dst, eid = tvb(0, size):le_uint64(), tvb(size + 3, 8):le_uint64()
  if is_said(tvb) and eid ~= UInt64(0) and eid ~= UInt64(1) then
    local at = key(scope, tostring(dst), tostring(eid))
    if not remember(pinfo, function() return ends[at] end) then return rest(tvb, pinfo, root) end
  end
  local tree = root:add(dt, tvb(0, size + 11))
  tree:add(F["o7s.dt.dst"], tvb(0, size), dst)
  tree:add(F["o7s.dt.qos"], tvb(size, 1))
  tree:add(F["o7s.dt.ttl"], tvb(size + 1, 1))
  tree:add(F["o7s.dt.ecn"], tvb(size + 2, 1))
  tree:add(F["o7s.dt.eid"], tvb(size + 3, 8), eid)
  say(pinfo, " dt " .. tostring(dst) .. "/" .. tostring(eid))
  local behind = tvb:len() > size + 11 and tvb(size + 11):tvb() or tvb(0, 0):tvb()
  if eid == UInt64(0) then
    allocation(behind, pinfo, root, scope, tostring(dst), len)
  elseif eid == UInt64(1) then
    directory(behind, pinfo, root, len)
  elseif scope >= MAX_DEPTH then
    rest(behind, pinfo, root)
  else
    data(behind, pinfo, root, scope, tostring(dst), tostring(eid))
  end
end

-- What a flow carries, in the clear. `flow` is as it was when the frame was first seen.
local function inner(tvb, pinfo, root, scope, flow, seen)
  if seen.frct then return retransmission(tvb, pinfo, root) end
  local list, component = connection(tvb)
  if list then
    remember(pinfo, function()
      flow.component = component or flow.component
      return true
    end)
    return show_connection(tvb, pinfo, root, list)
  end
  if is_said(tvb) and (seen.component == "enrollment" or seen.component == "management") then
    rest(tvb, pinfo, root)
  elseif seen.component == "enrollment" then
    enrollment(tvb, pinfo, root, scope)
  elseif seen.component == "management" then
    link_state(tvb, pinfo, root)
  elseif seen.component == "data" then
    transfer(tvb, pinfo, root, scope + 2)
  else
    rest(tvb, pinfo, root)
  end
end

local function as_seen(flow)
  return { frct = flow.frct, crc = flow.crc, cipher = flow.cipher, component = flow.component }
end

-- A packet for what `node` calls `eid`.
function data(tvb, pinfo, root, scope, node, eid)
  local seen = remember(pinfo, function()
    local flow = ends[key(scope, node, eid)]
    if not flow then return nil end
    local now = as_seen(flow)
    now.flow, now.to_requester = flow, flow.requester == node and flow.s_eid == eid
    return now
  end)
  if not seen then return rest(tvb, pinfo, root) end
  local tree = root:add(o7s, tvb:len() > 0 and tvb() or nil, "Ouroboros, flow " .. seen.flow.number)
  add_flow(tree, seen.flow, seen.to_requester)
  say(pinfo, " flow " .. seen.flow.number)
  local len = tvb:len()
  if len == 0 then return say(pinfo, " keepalive") end
  -- The reference sends FRCT's own packets without a checksum. They are too short to have one.
  local bare = seen.frct and len == 12 + (seen.cipher and SEALED or 0)
  if seen.crc and not bare and len >= 4 then
    tree:add(F["o7s.crc"], tvb(len - 4, 4))
    len = len - 4
    if len == 0 then return end
    tvb = tvb(0, len):tvb()
  end
  if not seen.cipher then return inner(tvb, pinfo, root, scope, seen.flow, seen) end
  if len < SEALED then return undecoded(tvb, root) end
  tree:add(F["o7s.sealed.iv"], tvb(0, 12))
  tree:add(F["o7s.sealed.length"], tvb(12, math.max(len - SEALED, 0)), len - SEALED)
  tree:add(F["o7s.sealed.tag"], tvb(len - 16, 16))
  say(pinfo, " sealed " .. (len - SEALED) .. " bytes")
end

-- Shims.

local UDP_QOS = { bandwidth = 16, delay = 24, loss = 28, ber = 32, max_gap = 36, timeout = 40, availability = 45, in_order = 46 }

local function udp_management(tvb, pinfo, root, tree, from, to)
  if tvb:len() < MGMT_LEN then return undecoded(tvb, root) end
  local code = tvb(44, 1):uint()
  local ahead = MGMT_LEN + (code == 1 and 16 or 0)
  if (code ~= 1 and code ~= 2) or tvb:len() < ahead then return undecoded(tvb, root) end
  tree:add(F["o7s.udp.s_eid"], tvb(4, 4))
  tree:add(F["o7s.udp.d_eid"], tvb(8, 4))
  tree:add(F["o7s.udp.response"], tvb(12, 4))
  local qos = add_qos(tree, "o7s.udp.", tvb, UDP_QOS)
  tree:add(F["o7s.udp.code"], tvb(44, 1))
  local s_eid = tostring(tvb(4, 4):uint())
  if code == 1 then
    tree:add(F["o7s.udp.hash"], tvb(MGMT_LEN, 16))
    say(pinfo, " flow request")
    local header = security_at(tvb, ahead, root, 0)
    add_flow(tree, requested(pinfo, 0, from, s_eid, qos, header))
  else
    local response = tvb(12, 4):int()
    say(pinfo, response == 0 and " flow reply" or (" flow refusal " .. response))
    local flow = replied(pinfo, 0, to, s_eid)
    local header = response == 0 and security_at(tvb, ahead, root, hash_of(flow)) or nil
    if flow then
      add_flow(tree, flow)
      if response == 0 then accepted(pinfo, flow, 0, from, tostring(tvb(8, 4):uint()), header) end
    end
  end
end

local function socket(address, port)
  return tostring(address) .. ":" .. port
end

function udp.dissector(tvb, pinfo, root)
  begin(pinfo)
  local len = tvb:len()
  if len < 4 then
    undecoded(tvb, root)
    return len
  end
  local from, to = socket(pinfo.src, pinfo.src_port), socket(pinfo.dst, pinfo.dst_port)
  local eid = tvb(0, 4):uint()
  local tree = root:add(udp, tvb(0, eid == 0 and math.min(len, 63) or 4))
  tree:add(F["o7s.udp.eid"], tvb(0, 4))
  if eid == 0 then
    udp_management(tvb, pinfo, root, tree, from, to)
  else
    say(pinfo, "eid " .. eid)
    data(len > 4 and tvb(4):tvb() or tvb(0, 0):tvb(), pinfo, root, 0, to, tostring(eid))
  end
  return len
end

-- Whether a datagram of any port is one of a layer: a message about a flow, or a packet of one that was asked for.
local function is_ours(tvb, pinfo)
  if tvb:len() < 4 then return false end
  local eid = tvb(0, 4):uint()
  if eid ~= 0 then return ends[key(0, socket(pinfo.dst, pinfo.dst_port), tostring(eid))] ~= nil end
  if tvb:len() < MGMT_LEN or tvb(46, 1):uint() > 1 then return false end
  local code = tvb(44, 1):uint()
  if code == 1 then return tvb:len() >= 63 and tvb(8, 8):uint64() == UInt64(0) end
  if code ~= 2 or tvb(45, 2):uint() ~= 0 then return false end
  for at = 16, 36, 4 do
    if tvb(at, 4):uint() ~= 0 then return false end
  end
  return tvb(40, 4):uint() == 0
end

udp:register_heuristic("udp", function(tvb, pinfo, root)
  if ours[pinfo.number] == nil then ours[pinfo.number] = is_ours(tvb, pinfo) end
  if not ours[pinfo.number] then return false end
  udp.dissector(tvb, pinfo, root)
  return true
end)

local ETH_QOS = { loss = 4, bandwidth = 8, ber = 16, max_gap = 20, delay = 24, timeout = 28, in_order = 36 }

local function eth_management(tvb, pinfo, root, tree, dix)
  local fixed, size = dix and 39 or 37, dix and 2 or 1
  if tvb:len() < fixed then return undecoded(tvb, root) end
  local code_at = dix and 37 or 2
  local code = tvb(code_at, 1):uint()
  local hash = code ~= 1 and o7s.prefs.hash_len or 0
  local ahead = fixed + hash
  if code > 3 or tvb:len() < ahead then return undecoded(tvb, root) end
  tree:add(F["o7s.eth.s_eid"], tvb(0, size))
  tree:add(F["o7s.eth.d_eid"], tvb(size, size))
  tree:add(F["o7s.eth.response"], tvb(32, 4))
  local places = { availability = code_at + 1 }
  for name, at in pairs(ETH_QOS) do places[name] = at end
  local qos = add_qos(tree, "o7s.eth.", tvb, places)
  tree:add(F["o7s.eth.code"], tvb(code_at, 1))
  if hash > 0 then tree:add(F["o7s.eth.hash"], tvb(fixed, hash)) end
  local from, to = tostring(pinfo.dl_src), tostring(pinfo.dl_dst)
  local s_eid, d_eid = tostring(tvb(0, size):uint()), tostring(tvb(size, size):uint())
  if code == 0 then
    say(pinfo, " flow request")
    local header = security_at(tvb, ahead, root, 0)
    add_flow(tree, requested(pinfo, 1, from, s_eid, qos, header))
  elseif code == 1 then
    local response = tvb(32, 4):int()
    say(pinfo, response == 0 and " flow reply" or (" flow refusal " .. response))
    local flow = replied(pinfo, 1, to, d_eid)
    local header = response == 0 and security_at(tvb, ahead, root, hash_of(flow)) or nil
    if flow then
      add_flow(tree, flow)
      if response == 0 then accepted(pinfo, flow, 1, from, s_eid, header) end
    end
  else
    say(pinfo, code == 2 and " name query" or " name answer")
  end
end

function eth.dissector(tvb, pinfo, root)
  begin(pinfo)
  if tvb:len() < 4 then return 0 end
  local eid, len = tvb(0, 2):uint(), tvb(2, 2):uint()
  if tvb:len() < 4 + len then return 0 end
  local tree = root:add(eth, tvb(0, 4))
  tree:add(F["o7s.eth.eid"], tvb(0, 2))
  tree:add(F["o7s.eth.length"], tvb(2, 2))
  local behind = len > 0 and tvb(4, len):tvb() or tvb(0, 0):tvb()
  if eid == 0 then
    eth_management(behind, pinfo, root, tree, true)
  else
    say(pinfo, "eid " .. eid)
    data(behind, pinfo, root, 1, tostring(pinfo.dl_dst), tostring(eid))
  end
  return 4 + len
end

local dsap_field, ssap_field, control_field = Field.new("llc.dsap"), Field.new("llc.ssap"), Field.new("llc.control")

local function mirrored(byte)
  local mirror = 0
  for _ = 1, 8 do
    mirror = mirror * 2 + byte % 2
    byte = math.floor(byte / 2)
  end
  return mirror
end

function llc.dissector(tvb, pinfo, root)
  local dsap, ssap = dsap_field(), ssap_field()
  if not dsap or not ssap then return 0 end
  begin(pinfo)
  dsap, ssap = mirrored(dsap.value), mirrored(ssap.value)
  local tree = root:add(eth, tvb:len() > 0 and tvb() or nil)
  tree:add(F["o7s.eth.dsap"], dsap)
  tree:add(F["o7s.eth.ssap"], ssap)
  if dsap == 1 and ssap == 1 then
    eth_management(tvb, pinfo, root, tree, false)
  else
    say(pinfo, "dsap " .. dsap)
    data(tvb, pinfo, root, 1, tostring(pinfo.dl_dst), tostring(dsap))
  end
  return tvb:len()
end

-- Packets of flows in the clear, as a capture of a stack has them when it was asked for them.

function shown.dissector(tvb, pinfo, root)
  if tvb:len() < 12 or tvb(0, 1):uint() ~= 1 then return 0 end
  begin(pinfo)
  local flags = tvb(1, 1):uint()
  local has = function(bit) return math.floor(flags / bit) % 2 == 1 end
  local tree = root:add(shown, tvb(0, 12))
  tree:add(F["o7s.capture.flow"], tvb(4, 8))
  tree:add(F["o7s.capture.flags"], tvb(1, 1))
  local number = tostring(tvb(4, 8):uint64())
  say(pinfo, "flow " .. number .. (has(8) and " sent" or " received"))
  local behind = tvb:len() > 12 and tvb(12):tvb() or tvb(0, 0):tvb()
  if has(16) then
    rest(behind, pinfo, root)
    return tvb:len()
  end
  local seen = remember(pinfo, function()
    members[number] = members[number] or { frct = has(1) }
    local now = as_seen(members[number])
    now.flow = members[number]
    return now
  end)
  inner(behind, pinfo, root, 0, seen.flow, seen)
  return tvb:len()
end

-- Where packets come from.

local registered = {}

local function register()
  local ports, ethertypes = DissectorTable.get("udp.port"), DissectorTable.get("ethertype")
  if registered.ports then ports:remove(registered.ports, udp) end
  if registered.ethertype then ethertypes:remove(registered.ethertype, eth) end
  registered = { ports = o7s.prefs.ports, ethertype = o7s.prefs.ethertype, llc = registered.llc }
  if registered.ports ~= "" then ports:add(registered.ports, udp) end
  ethertypes:add(registered.ethertype, eth)
  if o7s.prefs.llc ~= registered.llc then
    local saps = DissectorTable.get("llc.dsap")
    for sap = 1, 63 do
      if o7s.prefs.llc then saps:add(mirrored(sap), llc) else saps:remove(mirrored(sap), llc) end
    end
    registered.llc = o7s.prefs.llc
  end
end

function o7s.prefs_changed()
  register()
end

register()
DissectorTable.get("wtap_encap"):add((wtap_encaps or wtap).USER0, shown)

internal import VMTypes

// Map entries inside a `setEntries`; the layout is in CatalogChange+Encoding.swift.

extension ByteWriter {
    mutating func entries(_ entries: [CatalogEntry], from start: UInt64) {
        number(UInt64(entries.count))
        var past = start
        for entry in entries {
            byte((entry.object == nil ? 0 : 1) | (entry.copied ? 2 : 0) | UInt8(entry.inheritance.rawValue) << 2)
            number(entry.start &- past)
            number(entry.end &- entry.start)
            if let object = entry.object { number(object.rawValue) }
            number(entry.offset)
            number(UInt64(UInt32(bitPattern: entry.current.rawValue)))
            number(UInt64(UInt32(bitPattern: entry.maximum.rawValue)))
            past = entry.end
        }
    }
}

extension ByteReader {
    mutating func entries(of task: TaskID, from start: UInt64) throws(StoreError) -> [CatalogEntry] {
        // Flags, two differences, an offset and two protections: six bytes at least.
        let count = try count(atLeast: 6)
        var entries: [CatalogEntry] = []
        entries.reserveCapacity(count)
        var past = start
        for _ in 0..<count {
            let entry = try entry(of: task, after: past)
            entries.append(entry)
            past = entry.end
        }
        return entries
    }

    private mutating func entry(of task: TaskID, after past: UInt64) throws(StoreError) -> CatalogEntry {
        let flags = try byte()
        guard flags < 16, let inheritance = Inheritance(rawValue: Int32(flags >> 2)) else {
            throw damaged("no entry has the flags \(flags)")
        }
        let start = past &+ (try number())
        let end = start &+ (try number())
        return CatalogEntry(
            task: task, start: start, end: end, object: flags & 1 != 0 ? ObjectID(try number()) : nil,
            offset: try number(), current: try protection(), maximum: try protection(), inheritance: inheritance,
            copied: flags & 2 != 0)
    }

    private mutating func protection() throws(StoreError) -> Protection {
        let value = try number()
        guard let bits = UInt32(exactly: value) else { throw damaged("no protection is \(value)") }
        return Protection(rawValue: Int32(bitPattern: bits))
    }
}

#if DEBUG
internal import VMTypes
@testable internal import PageStore

enum PageStoreDecoders {
    /// As the journal is read: a header, what its fields promise of each other, then the prologue.
    static func record(_ bytes: [UInt8]) throws {
        let prologue = try bytes.withUnsafeBytes { raw in
            guard raw.count >= JournalFormat.headerSize, let header = JournalHeader(from: raw.baseAddress!), header.isConsistent,
                header.length <= 1 << 30, Int(header.prologueBytes) <= raw.count
            else { throw NotTaken() }
            return try JournalPrologue(header: header, bytes: UnsafeRawBufferPointer(rebasing: raw[..<Int(header.prologueBytes)]))
        }
        precondition(prologue.layout.length == Int(prologue.header.length), "the record is not as long as it says")
        _ = try StoreOperation.decode(prologue.operations)
    }

    static func operations(_ bytes: [UInt8]) throws {
        let operations = try StoreOperation.decode(bytes)
        let again = try StoreOperation.decode(StoreOperation.encode(operations))
        precondition(again == operations, "what is written is not what was read")
    }

    static func part(_ bytes: [UInt8]) throws {
        var bytes = bytes
        try bytes.withUnsafeMutableBytes { raw in
            if raw.count >= LayerPart.headerSize {
                let sum = Checksum.of(UnsafeRawPointer(raw.baseAddress!) + 16, count: LayerPart.headerSize - 16)
                raw.storeBytes(of: sum.littleEndian, toByteOffset: 8, as: UInt64.self)
            }
            let header = try LayerPart.Header(from: UnsafeRawBufferPointer(raw), what: "a part")
            precondition(header.valueSize == raw.count, "the part is not as long as it says")
        }
    }

    /// The first byte says which table's row, the rest are its fields.
    static func row(_ bytes: [UInt8]) throws {
        guard let kind = bytes.first else { throw NotTaken() }
        let fields = Array(bytes.dropFirst())
        switch kind % 10 {
        case 0: try decode(StoreMeta.self, fields)
        case 1: try decode(VersionRow.self, fields)
        case 2: try decode(ChainRow.self, fields)
        case 3: try decode(ObjectRow.self, fields)
        case 4: try decode(NameRow.self, fields)
        case 5: try decode(LineageRow.self, fields)
        case 6: try decode(SnapshotRow.self, fields)
        case 7: try decode(GraveRow.self, fields)
        case 8: try decode(OutboxRow.self, fields)
        default: try decode(CheckpointRow.self, fields)
        }
    }

    private static func decode<R: Row>(_ type: R.Type, _ fields: [UInt8]) throws {
        let key = Key("key")
        let value = fields + withUnsafeBytes(of: Checksum.of(key.bytes + fields).littleEndian, Array.init)
        let row = try key.bytes.withUnsafeBytes { key in try value.withUnsafeBytes { try R.decode($0, key: key) } }
        _ = row.encoded(key: key)
    }
}
#endif

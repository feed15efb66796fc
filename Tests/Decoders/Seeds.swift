#if DEBUG
internal import Foundation
internal import VMTypes
@testable internal import PageStore

/// What a real store has written, for each decoder what it reads.
public enum Seeds {
    public static func all() throws -> [(decoder: FuzzTarget, bytes: [UInt8])] {
        let store = try RealStore()
        var found: [(FuzzTarget, [UInt8])] = []
        for record in try records(store.path + "/journal") {
            found.append((.journalRecord, record.bytes))
            found.append((.operations, record.operations))
            for case .mapChanges(let changes) in try StoreOperation.decode(record.operations) { found.append((.catalogChanges, changes)) }
        }
        found += try rows(store.path + "/pages.lmdb")
        for cell in CatalogDecoders.shared.cells.indices {
            for kind in 0..<5 { found.append((.catalogRow, [UInt8(cell), UInt8(kind), 0xff, 3, 0x80, 1, 0, 0, 0, 0xff])) }
        }
        found += try ControlDecoders.seeds().map { (.controlStream, $0) }
        return found
    }

    /// Prologues, and their operations.
    private static func records(_ path: String) throws -> [(bytes: [UInt8], operations: [UInt8])] {
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        return try stride(from: Journal.superblockSize, to: bytes.count, by: Page.size).compactMap { start in
            try bytes[start...].withUnsafeBytes { raw in
                guard let header = JournalHeader(from: raw.baseAddress!), header.isConsistent, Int(header.prologueBytes) <= raw.count else { return nil }
                let prologue = UnsafeRawBufferPointer(rebasing: raw[..<Int(header.prologueBytes)])
                return (Array(prologue), try JournalPrologue(header: header, bytes: prologue).operations)
            }
        }
    }

    private static func rows(_ path: String) throws -> [(FuzzTarget, [UInt8])] {
        let kinds: [(Table, Int)] = [
            (.meta, 0), (.versions, 1), (.chains, 2), (.objects, 3), (.names, 4), (.lineage, 5), (.snapshots, 6), (.graveyard, 7), (.outbox, 8),
            (.checkpoints, 9),
        ]
        let lmdb = try LMDB(path: path, readOnly: true)
        return try lmdb.read { (t) throws(StoreError) in
            var found: [(FuzzTarget, [UInt8])] = []
            try t.forEach(.records, from: Key()) { (_, value) throws(StoreError) in
                found.append((.layerPart, Array(value)))
                return true
            }
            for (table, kind) in kinds {
                try t.forEach(table, from: Key()) { (key, value) throws(StoreError) in
                    // Of the checkpoints, those that are no chunks; the checksum is made anew.
                    if table != .checkpoints || Key.field(key, 0) == 0 { found.append((.metadataRow, [UInt8(kind)] + value.dropLast(8))) }
                    return true
                }
            }
            return found
        }
    }
}
#endif

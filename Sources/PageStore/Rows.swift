internal import VMTypes

/// A row of a metadata table: its fields and, last, the XXH3 of key and fields, since LMDB checks nothing itself.
protocol Row {
    static var what: String { get }
    func encode(to writer: inout ByteWriter)
    init(from reader: inout ByteReader) throws(StoreError)
}

extension Row {
    func encoded(key: Key) -> [UInt8] {
        var writer = ByteWriter()
        encode(to: &writer)
        writer.put(key.bytes.withUnsafeBytes { key in writer.bytes.withUnsafeBytes { Checksum.of(key: key, $0) } })
        return writer.bytes
    }

    static func decode(_ value: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer) throws(StoreError) -> Self {
        guard value.count >= 8 else { throw StoreError(.damaged, "\(what) is cut off") }
        let body = UnsafeRawBufferPointer(rebasing: value[..<(value.count - 8)])
        let sum = UInt64(littleEndian: value.loadUnaligned(fromByteOffset: value.count - 8, as: UInt64.self))
        guard sum == Checksum.of(key: key, body) else {
            throw StoreError(
                .damaged, "the checksum of \(what) is wrong", advice: "Run `varve verify`, then `varve repair`")
        }
        var reader = ByteReader(body, what: what)
        return try Self(from: &reader)
    }
}

extension LMDB.Transaction {
    func row<R: Row>(_ table: Table, _ key: Key, _ type: R.Type = R.self) throws(StoreError) -> R? {
        guard let value = try get(table, key) else { return nil }
        var result: Result<R, StoreError>?
        key.bytes.withUnsafeBytes { raw in
            do throws(StoreError) { result = .success(try R.decode(value, key: raw)) } catch { result = .failure(error) }
        }
        return try result!.get()
    }

    func put<R: Row>(_ table: Table, _ key: Key, row: R) throws(StoreError) {
        try put(table, key, row.encoded(key: key))
    }
}

/// The one row of `meta`: what must change together with the layers that settle.
struct StoreMeta: Row {
    static let what = "the page store's meta row"
    static let key = Key("store")
    /// 2: the journal may hold line patches.
    static let currentFormat: UInt32 = 2

    var format = currentFormat
    var store: StoreUUID
    var mark: JournalMark
    var nextRecord: UInt64
    /// Objects and tasks draw their numbers from one sequence.
    var nextID: UInt64
    /// Counts the transactions that took records out of use.
    var epoch: UInt64
    /// The journal holds nothing that this mark does not cover, and the last writer closed the store.
    var clean: Bool
    var retention: Retention
    var windowBase: UInt64
    /// Versions below it may have been told to callers.
    var nextVersion = Version.zero
    /// No record behind the mark has more bytes.
    var longestRecord = Journal.usualLongestRecord

    func encode(to writer: inout ByteWriter) {
        writer.put(format)
        writer.put(store.low)
        writer.put(store.high)
        writer.put(mark.settled.rawValue)
        writer.put(mark.position)
        writer.put(mark.chain)
        writer.put(mark.last.rawValue)
        writer.put(nextRecord)
        writer.put(nextID)
        writer.put(epoch)
        writer.put(UInt8(clean ? 1 : 0))
        writer.put(retention.versions)
        writer.put(retention.seconds)
        writer.put(windowBase)
        writer.put(nextVersion.rawValue)
        writer.put(mark.lastPosition)
        writer.put(longestRecord)
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        format = try reader.get()
        guard format <= Self.currentFormat else {
            throw StoreError(
                .newerFormat, "the page store has format \(format); this build knows formats up to \(Self.currentFormat)",
                advice: "Open the store with a newer Varve")
        }
        store = StoreUUID(low: try reader.get(), high: try reader.get())
        mark = JournalMark(
            settled: Version(try reader.get()), position: try reader.get(), chain: try reader.get(),
            last: Version(try reader.get()), lastPosition: 0)
        nextRecord = try reader.get()
        nextID = try reader.get()
        epoch = try reader.get()
        clean = try reader.get(UInt8.self) != 0
        retention = Retention(versions: try reader.get(), seconds: try reader.get())
        windowBase = try reader.get()
        nextVersion = Version(try reader.get())
        mark.lastPosition = try reader.get()
        longestRecord = try reader.get()
    }

    init(store: StoreUUID, windowBase: UInt64) {
        self.store = store
        self.windowBase = windowBase
        mark = JournalMark(settled: .zero, position: 0, chain: 0, last: .zero, lastPosition: 0)
        nextRecord = 1
        nextID = 1
        epoch = 1
        clean = true
        retention = .standard
    }
}

/// What an object's layer at one version is: the row of `versions` at (object, version).
struct VersionRow: Row, Equatable {
    static let what = "a version row"
    /// 0: a gap, the layers of `first` up to the row's own version are gone with all states that had them.
    var record: UInt64
    /// The states from this version up to, not including, the row's own are gone: their layers are folded into this one,
    /// or lack what this one has again.
    var first: Version
    var size: UInt64
    var floorPage: UInt32
    var partCount: UInt32
    var pageCount: UInt32
    var time: Int64

    var isGap: Bool { record == 0 }

    func encode(to writer: inout ByteWriter) {
        writer.put(record)
        writer.put(first.rawValue)
        writer.put(size)
        writer.put(floorPage)
        writer.put(partCount)
        writer.put(pageCount)
        writer.put(time)
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        record = try reader.get()
        first = Version(try reader.get())
        size = try reader.get()
        floorPage = try reader.get()
        partCount = try reader.get()
        pageCount = try reader.get()
        time = try reader.get()
    }

    init(record: UInt64, first: Version, size: UInt64, floorPage: UInt32, partCount: UInt32, pageCount: UInt32, time: Int64) {
        self.record = record
        self.first = first
        self.size = size
        self.floorPage = floorPage
        self.partCount = partCount
        self.pageCount = pageCount
        self.time = time
    }
}

/// Proves that no version or lineage row of an object is missing: their number and the XOR of their checksums.
struct ChainRow: Row, Equatable {
    static let what = "an object's chain row"
    var count: UInt64 = 0
    var digest: UInt64 = 0

    mutating func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        count += 1
        digest ^= Checksum.of(key: key, value)
    }

    mutating func add(key: Key, value: [UInt8]) {
        key.bytes.withUnsafeBytes { key in value.withUnsafeBytes { add(key: key, value: $0) } }
    }

    mutating func remove(key: Key, value: [UInt8]) {
        count -= 1
        digest ^= key.bytes.withUnsafeBytes { key in value.withUnsafeBytes { Checksum.of(key: key, $0) } }
    }

    func encode(to writer: inout ByteWriter) {
        writer.put(count)
        writer.put(digest)
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        count = try reader.get()
        digest = try reader.get()
    }

    init() {}
}

/// The row of `objects` at an object's number.
struct ObjectRow: Row {
    static let what = "an object's row"
    var info: ObjectInfo

    init(_ info: ObjectInfo) { self.info = info }

    func encode(to writer: inout ByteWriter) {
        writer.put(info.id.rawValue)
        writer.put(info.born.rawValue)
        writer.put(info.died.rawValue)
        writer.put(info.size)
        writer.put(info.residency.rawValue)
        writer.put(info.name)
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        let id = ObjectID(try reader.get())
        let born = Version(try reader.get())
        let died = Version(try reader.get())
        let size: UInt64 = try reader.get()
        let residency = Residency(rawValue: try reader.get()) ?? .shared
        info = ObjectInfo(
            id: id, name: try reader.getString(), size: size, residency: residency, born: born, died: died)
    }
}

/// The row of `names` at a live object's name.
struct NameRow: Row {
    static let what = "a name's row"
    var object: ObjectID

    init(object: ObjectID) { self.object = object }
    func encode(to writer: inout ByteWriter) { writer.put(object.rawValue) }
    init(from reader: inout ByteReader) throws(StoreError) { object = ObjectID(try reader.get()) }
}

/// The row of `lineage` at (object, from version).
struct LineageRow: Row, Hashable {
    static let what = "a lineage row"
    var source: ObjectID
    var sourceVersion: Version
    /// The object's size when the lineage began.
    var size: UInt64

    init(source: ObjectID, sourceVersion: Version, size: UInt64) {
        self.source = source
        self.sourceVersion = sourceVersion
        self.size = size
    }

    func encode(to writer: inout ByteWriter) {
        writer.put(source.rawValue)
        writer.put(sourceVersion.rawValue)
        writer.put(size)
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        source = ObjectID(try reader.get())
        sourceVersion = Version(try reader.get())
        size = try reader.get()
    }
}

/// The row of `snapshots` at a snapshot's name.
struct SnapshotRow: Row {
    static let what = "a snapshot's row"
    var info: SnapshotInfo

    init(_ info: SnapshotInfo) { self.info = info }

    func encode(to writer: inout ByteWriter) {
        writer.put(info.name)
        writer.put(info.version.rawValue)
        writer.put(info.object?.rawValue ?? 0)
        writer.put(info.time)
        writer.put(info.message)
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        let name = try reader.getString()
        let version = Version(try reader.get())
        let object: UInt64 = try reader.get()
        let time: Int64 = try reader.get()
        info = SnapshotInfo(
            name: name, version: version, object: object == 0 ? nil : ObjectID(object), time: time,
            message: try reader.getString())
    }
}

/// The row of `graveyard` at (epoch of death, object, record, part): a part that no version names any more, or, at
/// epoch 0, one that none names yet.
struct GraveRow: Row {
    static let what = "a graveyard row"
    var lastVersion: Version

    init(lastVersion: Version) { self.lastVersion = lastVersion }
    func encode(to writer: inout ByteWriter) { writer.put(lastVersion.rawValue) }
    init(from reader: inout ByteReader) throws(StoreError) { lastVersion = Version(try reader.get()) }
}

/// The row of `outbox` at a version: what the catalog has yet to hear of it.
struct OutboxRow: Row {
    static let what = "an outbox row"
    var commit: CommitInfo

    init(_ commit: CommitInfo) { self.commit = commit }

    func encode(to writer: inout ByteWriter) {
        writer.put(commit.version.rawValue)
        writer.put(commit.time)
        writer.put(UInt32(commit.pages))
        writer.put(StoreOperation.encode(commit.operations))
    }

    init(from reader: inout ByteReader) throws(StoreError) {
        let version = Version(try reader.get())
        let time: Int64 = try reader.get()
        let pages: UInt32 = try reader.get()
        commit = CommitInfo(
            version: version, time: time, pages: Int(pages), operations: try StoreOperation.decode(try reader.getBlob()))
    }
}

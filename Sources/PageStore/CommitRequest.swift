internal import Glibc
public import VMTypes

/// Whether a commit returns once it is on the disk.
public enum Durability: Sendable {
    /// The commit is on the disk when the call returns.
    case synced
    /// A power cut may lose it, with those after it and never one before it; a killed process loses nothing.
    case deferred
}

/// What a commit changes in one object: the pages, and where their bytes are now.
public struct LayerInput {
    public var object: ObjectID
    /// The object's size in bytes after the commit.
    public var size: UInt64
    /// Pages from this one on of older layers are gone; `UInt32.max` where the object did not shrink.
    public var floorPage: UInt32
    /// Ascending and disjoint; all below the size.
    public var runs: [PageRange]
    /// Where page 0 is or would be: page p's bytes are at `origin + p * 4096`. Other threads may be writing them.
    public var origin: UnsafeRawPointer

    public init(object: ObjectID, size: UInt64, floorPage: UInt32 = .max, runs: [PageRange], origin: UnsafeRawPointer) {
        self.object = object
        self.size = size
        self.floorPage = floorPage
        self.runs = runs
        self.origin = origin
    }

    var pageCount: Int { runs.reduce(0) { $0 + $1.count } }
}

/// A record on its way into the journal: its bytes, all but what only its turn in the ring decides.
///
/// Invariant: one thread at a time uses it: the one that captures, then, from queueing to `outcome`, the leader.
final class CommitRequest: @unchecked Sendable {
    private(set) var buffer: AlignedBuffer
    /// Where the record begins in `buffer`, and its bytes.
    private(set) var start = 0
    private(set) var length = 0
    private(set) var layers: [JournalLayer] = []
    private(set) var operations: [StoreOperation] = []
    var durability = Durability.synced
    var outcome: Result<Version, StoreError>?
    private var prologueBytes = 0
    private var inlinePages = 0
    private var operationBytes: [UInt8] = []
    /// Where the pages of layers in the page store are; in step with `layers`, empty for those in the journal.
    private(set) var stagedPlaces: [[Place]] = []

    init(capacity: Int) { buffer = AlignedBuffer(capacity: capacity) }

    /// Upper bound of a record's bytes.
    static func bound(pages: Int, layers: Int, operationBytes: Int) -> Int {
        prologueBound(pages: pages, layers: layers, operationBytes: operationBytes) + pages * Page.size
    }

    private static func prologueBound(pages: Int, layers: Int, operationBytes: Int) -> Int {
        let bytes = JournalFormat.headerSize + layers * JournalFormat.layerHeaderSize + pages * PageEntry.encodedSize + operationBytes
        return Page.count(forBytes: bytes) * Page.size
    }

    /// Copies the pages of `inputs` into the record. Every byte that is compared, summed or written is read from this
    /// copy: the original may be written to meanwhile.
    ///
    /// `isUnchanged` is asked about each copied page, with its checksum; what it affirms is dropped.
    func capture(
        _ inputs: [LayerInput], staged: [(layer: JournalLayer, places: [Place])], operations: [StoreOperation],
        isUnchanged: (_ layer: Int, _ page: Int, _ checksum: UInt64, _ bytes: UnsafeRawPointer) -> Bool
    ) {
        self.operations = operations
        operationBytes = StoreOperation.encode(operations)
        layers.removeAll(keepingCapacity: true)
        stagedPlaces.removeAll(keepingCapacity: true)
        inlinePages = 0
        let pages = inputs.reduce(0) { $0 + $1.pageCount }
        let stagedEntries = staged.reduce(0) { $0 + $1.layer.entries.count }
        let prologue = Self.prologueBound(
            pages: pages + stagedEntries, layers: inputs.count + staged.count, operationBytes: operationBytes.count)
        buffer.reserve(prologue + pages * Page.size)
        var destination = buffer.base + prologue
        var entryCount = stagedEntries
        for (index, input) in inputs.enumerated() {
            var entries: [PageEntry] = []
            entries.reserveCapacity(input.pageCount)
            for run in input.runs {
                for page in run.start..<run.end {
                    memcpy(destination, input.origin + page * Page.size, Page.size)
                    let tail = Int(input.size) - page * Page.size
                    if tail < Page.size { memset0(destination + max(tail, 0), Page.size - max(tail, 0)) }
                    let sum = Checksum.of(UnsafeRawPointer(destination), count: Page.size)
                    if isUnchanged(index, page, sum, destination) { continue }
                    if sum == Checksum.zeroPage, isZeroPage(destination) {
                        if Mutant.isPlanted(.zerosForgotten) { continue }
                        entries.append(PageEntry(page: UInt32(page), mask: PageEntry.zeros, checksum: sum))
                    } else {
                        entries.append(PageEntry(page: UInt32(page), mask: PageEntry.wholePage, checksum: sum))
                        destination += Page.size
                        inlinePages += 1
                    }
                }
            }
            entryCount += entries.count
            if entries.isEmpty && input.floorPage == .max && !changesSize(input.object) { continue }
            layers.append(
                JournalLayer(object: input.object, size: input.size, floorPage: input.floorPage, record: 0, entries: entries))
            stagedPlaces.append([])
        }
        for (layer, places) in staged {
            layers.append(layer)
            stagedPlaces.append(places)
        }
        prologueBytes = JournalFormat.headerSize + layers.count * JournalFormat.layerHeaderSize
            + entryCount * PageEntry.encodedSize + operationBytes.count
        let padded = Page.count(forBytes: prologueBytes) * Page.size
        start = prologue - padded
        length = padded + inlinePages * Page.size
    }

    private func changesSize(_ object: ObjectID) -> Bool {
        operations.contains {
            switch $0 {
            case .resizeObject(object, _), .createObject(object, _, _, _): true
            default: false
            }
        }
    }

    var isEmpty: Bool { layers.isEmpty && operations.isEmpty }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: buffer.base + start, count: length) }

    /// Writes the prologue, now that its place in the ring is known; sets the header's lengths and checksum.
    func seal(_ header: inout JournalHeader) {
        header.length = UInt64(length)
        header.prologueBytes = UInt32(prologueBytes)
        header.pageCount = UInt32(inlinePages)
        header.layerCount = UInt32(layers.count)
        header.operationBytes = UInt32(operationBytes.count)
        let base = buffer.base + start
        let padded = length - inlinePages * Page.size
        var p = base + JournalFormat.headerSize
        for layer in layers {
            p.storeBytes(of: layer.object.rawValue.littleEndian, as: UInt64.self)
            p.storeBytes(of: layer.size.littleEndian, toByteOffset: 8, as: UInt64.self)
            p.storeBytes(of: layer.record.littleEndian, toByteOffset: 16, as: UInt64.self)
            p.storeBytes(of: layer.floorPage.littleEndian, toByteOffset: 24, as: UInt32.self)
            p.storeBytes(of: UInt32(layer.entries.count).littleEndian, toByteOffset: 28, as: UInt32.self)
            p.storeBytes(of: 0, toByteOffset: 32, as: UInt64.self)
            p += JournalFormat.layerHeaderSize
            for entry in layer.entries {
                entry.encode(to: p)
                p += PageEntry.encodedSize
            }
        }
        operationBytes.withUnsafeBytes { if $0.count > 0 { memcpy(p, $0.baseAddress!, $0.count) } }
        memset0(base + prologueBytes, padded - prologueBytes)
        header.checksum = 0
        header.encode(to: base)
        header.checksum = Checksum.of(UnsafeRawPointer(base) + 16, count: prologueBytes - 16)
        base.storeBytes(of: header.checksum.littleEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// The record as the store remembers it until it is settled.
    func youngRecord(_ header: JournalHeader) -> YoungRecord {
        let prologue = header.length - UInt64(inlinePages * Page.size)
        return YoungRecord(
            header: header,
            layers: YoungLayer.make(layers, staged: stagedPlaces, firstPage: header.position + prologue),
            operations: operations)
    }

    /// Hands the record's bytes over, and goes on with `spare`.
    func takeBytes(leaving spare: AlignedBuffer) -> RecordBytes {
        defer { buffer = spare }
        return RecordBytes(buffer: buffer, start: start)
    }
}

extension YoungLayer {
    /// Gives each entry its place: in the journal from `firstPage` on, in order, or where it was staged.
    static func make(_ layers: [JournalLayer], staged: [[Place]], firstPage: UInt64) -> [YoungLayer] {
        var position = firstPage
        return zip(layers, staged).map { layer, places in
            let own: [Place]
            if layer.record != 0 {
                own = places
            } else {
                own = layer.entries.map { entry in
                    if entry.isZero { return .zeros }
                    defer { position += UInt64(Page.size) }
                    return .journal(position)
                }
            }
            return YoungLayer(
                object: layer.object, size: layer.size, floorPage: layer.floorPage, record: layer.record,
                entries: layer.entries, places: own)
        }
    }
}

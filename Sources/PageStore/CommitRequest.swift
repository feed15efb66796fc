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
    var restored: [ObjectComparison] = []
    var outcome: Result<Version, StoreError>?
    private var layout = RecordLayout(prologueBytes: 0, pageCount: 0, lineCount: 0)
    /// The lines of all patches, until their place in the record is known.
    private let lines = AlignedBuffer(capacity: Page.size)
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
    /// What `committed` says is unchanged is dropped; where few lines have changed, these are taken.
    func capture(
        _ inputs: [LayerInput], staged: [(layer: JournalLayer, places: [Place])], operations: [StoreOperation],
        committed: CommittedPages
    ) {
        self.operations = operations
        operationBytes = StoreOperation.encode(operations)
        layers.removeAll(keepingCapacity: true)
        stagedPlaces.removeAll(keepingCapacity: true)
        let pages = inputs.reduce(0) { $0 + $1.pageCount }
        let stagedEntries = staged.reduce(0) { $0 + $1.layer.entries.count }
        let prologue = Self.prologueBound(
            pages: pages + stagedEntries, layers: inputs.count + staged.count, operationBytes: operationBytes.count)
        reserve(prologue + pages * Page.size)
        lines.reserve(pages * CommittedPages.mostLines * LineMask.lineSize)
        var destination = buffer.base + prologue
        var line = lines.base
        var entryCount = stagedEntries
        for (index, input) in inputs.enumerated() {
            var entries: [PageEntry] = []
            entries.reserveCapacity(input.pageCount)
            let firstLine = line
            for run in input.runs {
                for page in run.start..<run.end {
                    memcpy(destination, input.origin + page * Page.size, Page.size)
                    let tail = Int(input.size) - page * Page.size
                    if tail < Page.size { memset0(destination + max(tail, 0), Page.size - max(tail, 0)) }
                    let sum = Checksum.of(UnsafeRawPointer(destination), count: Page.size)
                    let mask: UInt64
                    switch committed.change(index, page, sum, destination) {
                    case .none: continue
                    case .zeros:
                        if Mutant.isPlanted(.zerosForgotten) { continue }
                        mask = PageEntry.zeros
                    case .whole:
                        mask = PageEntry.wholePage
                        destination += Page.size
                    case .lines(let changed):
                        mask = changed
                        line = LineMask.pack(changed, of: destination, to: line)
                    }
                    entries.append(PageEntry(page: UInt32(page), mask: mask, checksum: sum))
                }
            }
            entryCount += entries.count
            if entries.isEmpty && input.floorPage == .max && !changesSize(input.object) { continue }
            let lineBytes = line - firstLine
            layers.append(
                JournalLayer(
                    object: input.object, size: input.size, floorPage: input.floorPage, record: 0,
                    lineSum: lineBytes > 0 ? Checksum.of(UnsafeRawPointer(firstLine), count: lineBytes) : 0, entries: entries))
            stagedPlaces.append([])
        }
        for (layer, places) in staged {
            layers.append(layer)
            stagedPlaces.append(places)
        }
        let lineBytes = line - lines.base
        layout = RecordLayout(
            prologueBytes: JournalFormat.headerSize + layers.count * JournalFormat.layerHeaderSize
                + entryCount * PageEntry.encodedSize + operationBytes.count,
            pageCount: (destination - buffer.base - prologue) >> Page.shift, lineCount: lineBytes / LineMask.lineSize)
        start = prologue - layout.pages
        length = layout.length
        let base = buffer.base + start
        memcpy(base + layout.lines, lines.base, lineBytes)
        memset0(base + layout.lines + lineBytes, length - layout.lines - lineBytes)
    }

    /// Makes room for a record. A buffer that would be too large to be kept for a large one makes way for another.
    private func reserve(_ bytes: Int) {
        if bytes >= Self.leastGiven, buffer.capacity > Self.mostSpare * bytes {
            buffer = AlignedBuffer(capacity: bytes)
        } else {
            buffer.reserve(bytes)
        }
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
        header.prologueBytes = UInt32(layout.prologueBytes)
        header.pageCount = UInt32(layout.pageCount)
        header.layerCount = UInt32(layers.count)
        header.operationBytes = UInt32(operationBytes.count)
        let base = buffer.base + start
        var p = base + JournalFormat.headerSize
        for layer in layers {
            p.storeBytes(of: layer.object.rawValue.littleEndian, as: UInt64.self)
            p.storeBytes(of: layer.size.littleEndian, toByteOffset: 8, as: UInt64.self)
            p.storeBytes(of: layer.record.littleEndian, toByteOffset: 16, as: UInt64.self)
            p.storeBytes(of: layer.floorPage.littleEndian, toByteOffset: 24, as: UInt32.self)
            p.storeBytes(of: UInt32(layer.entries.count).littleEndian, toByteOffset: 28, as: UInt32.self)
            p.storeBytes(of: layer.lineSum.littleEndian, toByteOffset: 32, as: UInt64.self)
            p += JournalFormat.layerHeaderSize
            for entry in layer.entries {
                entry.encode(to: p)
                p += PageEntry.encodedSize
            }
        }
        operationBytes.withUnsafeBytes { if $0.count > 0 { memcpy(p, $0.baseAddress!, $0.count) } }
        if layout.pageCount > 0 { memset0(base + layout.prologueBytes, layout.pages - layout.prologueBytes) }
        header.checksum = 0
        header.encode(to: base)
        header.checksum = Checksum.of(UnsafeRawPointer(base) + 16, count: layout.prologueBytes - 16)
        base.storeBytes(of: header.checksum.littleEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// The record as the store remembers it until it is settled; it takes the record's bytes along.
    ///
    /// A buffer that is much larger than the record is not given away, but copied from, unless that is much.
    func youngRecord(_ header: JournalHeader, in pages: YoungPages, spare: () -> AlignedBuffer) -> YoungRecord {
        var bytes: RecordBytes?
        if layout.pageCount > 0 || layout.lineCount > 0 {
            if length >= Self.leastGiven, buffer.capacity <= Self.mostSpare * length {
                bytes = RecordBytes(buffer: buffer, start: start, isSpare: true)
                buffer = spare()
            } else if layout.pageCount * Page.size <= Self.mostCopied {
                let copy = AlignedBuffer(capacity: length)
                memcpy(copy.base, buffer.base + start, length)
                bytes = RecordBytes(buffer: copy, start: 0, isSpare: false)
            }
        }
        var record = YoungRecord(
            header: header,
            layers: YoungLayer.make(layers, staged: stagedPlaces, layout, at: header.position, bytes, in: pages),
            operations: operations)
        record.bytes = bytes
        return record
    }

    /// A buffer of more times the bytes of its record is too large to be kept for it: pages that were captured and dropped are as many.
    private static let mostSpare = 3
    /// Bytes of a record that are not worth copying.
    private static let leastGiven = 64 << 10
    /// Bytes of whole pages that are worth copying, so that the next commits find them.
    private static let mostCopied = 512 << 10
}

extension YoungLayer {
    /// Gives each entry its place: in the journal, where its record is at `position`, or where it was staged.
    static func make(
        _ layers: [JournalLayer], staged: [[Place]], _ layout: RecordLayout, at position: UInt64, _ bytes: RecordBytes?,
        in youngPages: YoungPages
    ) -> [YoungLayer] {
        var pages = position + UInt64(layout.pages)
        var lines = position + UInt64(layout.lines)
        let memory = bytes.map { UnsafeRawPointer($0.buffer.base + $0.start) }
        return zip(layers, staged).map { layer, places in
            let own = layer.record != 0
                ? places : youngPages.add(layer.entries, pages: &pages, lines: &lines, bytes: memory, position: position)
            return YoungLayer(
                object: layer.object, size: layer.size, floorPage: layer.floorPage, record: layer.record,
                entries: layer.entries, places: own)
        }
    }
}

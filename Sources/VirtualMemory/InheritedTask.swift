internal import AddressMap
internal import Glibc
internal import HostMemory
internal import PageStore
internal import Synchronization
internal import VMTypes

/// A region that a program gets of the task that started it.
struct InheritedRegion: Codable, Sendable {
    var start: UInt64
    var end: UInt64
    var current: Int32
    var maximum: Int32
    var inheritance: Int32
    var isCopied: Bool
    /// The number of the memory file that it shows; nothing where no memory lies behind it.
    var file: Int?
    /// The page of the file that is the object's page 0, and the object's pages in it.
    var first = 0
    var count = 0
    /// The page of the object that is the region's first.
    var page = 0
    /// The object, and the port to it, where its memory is shared.
    var object: UInt64?
    var port: UInt64?
    /// Bytes of the object.
    var size: UInt64 = 0
}

/// What waits for a program that was started, until it asks for it.
final class InheritedTask: Sendable {
    struct File {
        var descriptor: Int32
        var pageCount: Int
        var isWritable: Bool
    }

    let windowBase: UInt64
    let windowSize: UInt64
    let regions: [InheritedRegion]
    /// By the number of the port.
    let ports: [UInt64: ObjectID]
    /// Guarded; nil once it was given.
    private let files: Mutex<[File?]>

    init(windowBase: UInt64, windowSize: UInt64, regions: [InheritedRegion], ports: [UInt64: ObjectID], files: [File]) {
        self.windowBase = windowBase
        self.windowSize = windowSize
        self.regions = regions
        self.ports = ports
        self.files = Mutex(files)
    }

    deinit { files.withLock { for case let file? in $0 { close(file.descriptor) } } }

    /// A memory file, whose descriptor is the caller's to close; nil for one that there is not, or that was given.
    func take(_ number: Int) -> File? {
        files.withLock { files in
            guard files.indices.contains(number) else { return nil }
            defer { files[number] = nil }
            return files[number]
        }
    }
}

/// Gathers what a program gets of a task, under the store's lock.
struct InheritanceBuilder {
    private var regions: [InheritedRegion] = []
    private var files: [InheritedTask.File] = []
    private var ports: [UInt64: ObjectID] = [:]
    private var given: [MappedObject] = []
    /// By object and right: its file, and its port.
    private var known: [Key: (file: Int, port: UInt64)] = [:]
    private var arenas: [Bool: Int] = [:]
    private var copies: ForeignMemory?
    private var copiedPages = 0

    private struct Key: Hashable {
        var object: ObjectID
        var writes: Bool
    }

    /// Gives back what was taken.
    func undo() {
        for object in given { object.handles -= 1 }
        for file in files { close(file.descriptor) }
    }

    func finish(_ task: VMTask) -> InheritedTask {
        InheritedTask(windowBase: task.windowBase, windowSize: task.windowSize, regions: regions, ports: ports, files: files)
    }

    private func region(_ entry: MapEntry) -> InheritedRegion {
        InheritedRegion(
            start: entry.start, end: entry.end, current: entry.current.rawValue, maximum: entry.maximum.rawValue,
            inheritance: entry.inheritance.rawValue, isCopied: entry.copied)
    }

    /// A region behind which nothing lies.
    mutating func reserve(_ entry: MapEntry) { regions.append(region(entry)) }

    /// Shows the object's own memory.
    mutating func share(_ entry: MapEntry, _ object: MappedObject) throws(StoreError) {
        guard case .shared(let shared) = object.home else { return }
        let key = Key(object: object.id, writes: entry.maximum.contains(.write))
        let place = if let found = known[key] { found } else { try open(key, object, shared) }
        var made = region(entry)
        made.file = place.file
        made.port = place.port
        made.first = shared.sharedArena == nil ? 0 : shared.firstPageInFile
        made.count = shared.pageCount
        made.page = entry.pages.start + object.pageOfOffset0
        made.object = object.id.rawValue
        made.size = object.size
        regions.append(made)
    }

    private mutating func open(_ key: Key, _ object: MappedObject, _ shared: SharedMemory) throws(StoreError) -> (file: Int, port: UInt64) {
        let number: Int
        if let arena = shared.sharedArena {
            if let open = arenas[key.writes] { number = open } else {
                let descriptor = try arena.makeDescriptor(readOnly: !key.writes)
                number = add(InheritedTask.File(descriptor: descriptor, pageCount: arena.pageCount, isWritable: key.writes))
                arenas[key.writes] = number
            }
            try shared.lend(through: files[number].descriptor)
        } else {
            let descriptor = try shared.makeDescriptor(readOnly: !key.writes)
            number = add(InheritedTask.File(descriptor: descriptor, pageCount: shared.pageCount, isWritable: key.writes))
        }
        // A slice that is lent for reading must not become another object's memory either.
        if key.writes || shared.sharedArena != nil { object.isGivenOut = true }
        object.handles += 1
        given.append(object)
        let port = UInt64(ports.count + 1)
        ports[port] = object.id
        known[key] = (number, port)
        return (number, port)
    }

    private mutating func add(_ file: InheritedTask.File) -> Int {
        files.append(file)
        return files.count - 1
    }

    /// Makes the memory that copies go to, so many pages; it is the first file.
    mutating func reserveCopies(_ pages: Int) throws(StoreError) {
        let made = try ForeignMemory(pageCount: max(1, pages))
        copies = made
        _ = add(InheritedTask.File(descriptor: try made.makeDescriptor(), pageCount: max(1, pages), isWritable: true))
    }

    /// Shows a copy of the object's memory, as it is now.
    mutating func copy(_ entry: MapEntry, _ object: MappedObject) throws(StoreError) {
        var made = region(entry)
        made.isCopied = true
        let pages = entry.pages.intersection(object.livePages)
        // What lies beyond the object's end lies beyond the copy's.
        made.file = 0
        made.first = copiedPages
        made.count = pages.count
        made.page = pages.isEmpty ? 1 : 0
        regions.append(made)
        guard let copies, !pages.isEmpty else { return }
        switch object.home {
        case .shared(let shared): try shared.copy(pages, to: copies, at: copiedPages)
        case .exclusive:
            let buffer = UnsafeMutableRawPointer.allocate(byteCount: 64 * Page.size, alignment: Page.size)
            defer { buffer.deallocate() }
            var next = pages.start
            while next < pages.end {
                let piece = PageRange(start: next, count: min(64, pages.end - next))
                try object.copyOut(piece, into: buffer)
                try copies.store(PageRange(start: copiedPages + next - pages.start, count: piece.count), from: buffer)
                next = piece.end
            }
        }
        copiedPages += pages.count
    }
}

internal import Catalog
internal import Foundation
internal import PageStore
internal import Synchronization
public import VMTypes

extension Store {
    /// How a store is made.
    public struct CreateOptions: Sendable {
        /// Bytes of the journal's ring: what commits may be ahead of settling. A multiple of 4096, 256 KiB at least.
        public var ringBytes: Int
        /// Where task windows begin; nil draws a place at random and records it.
        public var windowBase: UInt64?

        public init(ringBytes: Int = 64 << 20, windowBase: UInt64? = nil) {
            self.ringBytes = ringBytes
            self.windowBase = windowBase
        }
    }

    /// Makes an empty store at `path`: a whole one or none, whatever interrupts it.
    ///
    /// Throws `.storeExists` where something stands at the path (an empty folder is replaced), `.full`, `.io`.
    public static func create(_ path: String, options: CreateOptions = CreateOptions()) throws(StoreError) {
        if let base = options.windowBase, Page.trunc(base) != base || !windowBases.contains(base) {
            throw StoreError(
                .invalid, "no task window can begin at 0x\(String(base, radix: 16))",
                advice: "Give a multiple of \(Page.size) from 0x10000 on, 64 GiB below 0x7ffffffff000", path: path)
        }
        try make(path) { (folder) throws(StoreError) in
            let uuid = try PageStore.create(
                in: folder, options: .init(ringBytes: options.ringBytes, windowBase: options.windowBase))
            try Catalog.create(path: folder + "/" + StoreFile.catalog, storeID: uuid.bytes)
        }
    }

    /// Where windows may begin: among the addresses of programs, with room above for one.
    private static let windowBases = 0x1_0000..<(0x7fff_ffff_f000 - windowSize) as Range<UInt64>

    /// Makes a folder whole under a temporary name beside `path`, then gives it that name.
    static func make(_ path: String, _ fill: (String) throws(StoreError) -> Void) throws(StoreError) {
        let path = normalized(path)
        let parent = (path as NSString).deletingLastPathComponent
        let name = (path as NSString).lastPathComponent
        let manager = FileManager.default
        var found = stat()
        if lstat(path, &found) == 0,
            found.st_mode & S_IFMT != S_IFDIR || (try? manager.contentsOfDirectory(atPath: path))?.isEmpty != true
        {
            throw StoreError(.storeExists, "something stands at this path", advice: "Choose another path", path: path)
        }
        guard manager.fileExists(atPath: parent.isEmpty ? "." : parent) else {
            throw StoreError(.notFound, "the folder is not there", advice: "Make it first", path: parent)
        }
        let prefix = ".\(name).creating-"
        let temporary = Mutant.isPlanted(.madeInPlace) ? path : "\(parent.isEmpty ? "." : parent)/\(prefix)\(getpid())"
        guard making.withLock({ $0.insert(temporary).inserted }) else {
            throw StoreError(.busy, "a store is being made at this path", advice: "Wait for it", path: path)
        }
        defer { making.withLock { _ = $0.remove(temporary) } }
        HostFiles.removeLeftovers(prefix, in: parent)
        try HostFiles.makeFolder(temporary)
        do throws(StoreError) {
            try fill(temporary)
            try HostFiles.syncFolder(temporary)
            try HostFiles.renameFolder(temporary, to: path)
            if !Mutant.isPlanted(.nameNotSynced) { try HostFiles.syncFolder(parent.isEmpty ? "." : parent) }
        } catch {
            try? manager.removeItem(atPath: temporary)
            throw error
        }
    }

    /// The temporary folders that this process is filling.
    private static let making = Mutex<Set<String>>([])

    static func normalized(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }
}

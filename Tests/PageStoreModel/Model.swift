internal import Glibc
public import PageStore
public import VMTypes

/// What a page holds: bytes that follow from a seed, with some lines changed since, up to `valid` of them, then zeros. Seed 0
/// is zeros throughout.
public struct PageContent: Hashable, Sendable {
    public var seed: UInt64
    /// A number for each 64-byte line that was changed by itself.
    public var lines: [Int: UInt64] = [:]
    public var valid = Page.size

    public init(seed: UInt64) { self.seed = seed }

    public static let zeros = PageContent(seed: 0)
    public var isZeros: Bool { seed == 0 && lines.isEmpty }

    /// Writes the bytes to `p`.
    public func fill(_ p: UnsafeMutableRawPointer) {
        // Not `initializeMemory`, which fills byte by byte in debug builds.
        memset(p, Int32(UInt8(truncatingIfNeeded: seed)), Page.size)
        p.storeBytes(of: seed, as: UInt64.self)
        p.storeBytes(of: seed, toByteOffset: Page.size - 8, as: UInt64.self)
        for (line, number) in lines { p.storeBytes(of: number, toByteOffset: line * 64 + 32, as: UInt64.self) }
        if valid < Page.size { memset(p + valid, 0, Page.size - valid) }
    }
}

/// One object as the model knows it.
public struct ModelObject: Equatable, Sendable {
    public var name: String
    public var size: Int
    public var pages: [Int: PageContent] = [:]
    /// The versions that changed it, ascending: the newest are kept by policy.
    public var layers: [Version] = []

    public var pageCount: Int { Page.count(forBytes: size) }
    public func content(_ page: Int) -> PageContent { pages[page] ?? .zeros }

    /// Cuts off what lies past `size`.
    public mutating func resize(to size: Int) {
        if size < self.size {
            let count = Page.count(forBytes: size)
            pages = pages.filter { $0.key < count }
            let tail = size % Page.size
            if tail != 0, var last = pages[count - 1] {
                last.valid = min(last.valid, tail)
                pages[count - 1] = last
            }
        }
        self.size = size
    }

    public func hasBytes(of other: ModelObject) -> Bool { size == other.size && pages == other.pages }
}

/// A store in plain dictionaries: every version that the test may still ask for.
public struct Model: Sendable {
    public typealias State = [ObjectID: ModelObject]

    public struct Snapshot: Equatable, Sendable {
        public var version: Version
        public var object: ObjectID?
        public var state: State
    }

    public var state: State = [:]
    public var last = Version.zero
    public var snapshots: [String: Snapshot] = [:]
    /// The newest versions, ascending.
    public var history: [(version: Version, state: State)] = []
    public var nextID: UInt64 = 1
    public var nextName: UInt64 = 1
    public var nextSeed: UInt64 = 1
    /// The smallest number of versions that the policy ever kept.
    public var retention = 8

    public init() {}

    /// The model of a store without objects.
    public init(of empty: PageStore) {
        last = empty.lastVersion
        retention = Int(empty.retention.versions)
    }

    /// The state at `version`, where the model still has it.
    public func state(at version: Version) -> State? { history.last { $0.version <= version }?.state }

    /// Every state that must be readable: (object, version, content).
    public func kept() -> [(object: ObjectID, version: Version, content: ModelObject)] {
        var found: [(ObjectID, Version, ModelObject)] = []
        for snapshot in snapshots.values {
            for (id, content) in snapshot.state where snapshot.object == nil || snapshot.object == id {
                found.append((id, snapshot.version, content))
            }
        }
        for (id, object) in state {
            for version in object.layers.suffix(retention) {
                if let content = state(at: version)?[id] { found.append((id, version, content)) }
            }
        }
        return found.sorted { ($0.0, $0.1) < ($1.0, $1.1) }
    }
}

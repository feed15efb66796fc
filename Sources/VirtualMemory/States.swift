internal import Catalog
internal import PageStore
public import VMTypes

extension Store {
    /// A state of the store that somebody names.
    public enum State: Hashable, Sendable {
        /// The last commit.
        case head
        case version(Version)
        case snapshot(String)
    }

    /// All digits name a version, anything else a snapshot.
    public static func parseState(_ text: String) -> State {
        if text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let number = UInt64(text) { return .version(Version(number)) }
        return .snapshot(text)
    }

    /// An object in a state: `NAME`, `NAME@SNAPSHOT` or `NAME@VERSION`; `#12` as a name is an object's number.
    public struct ObjectReference: Hashable, Sendable {
        public var name: String
        public var state: State

        public init(name: String, state: State = .head) {
            self.name = name
            self.state = state
        }

        public init(parsing text: String) {
            guard let at = text.lastIndex(of: "@") else {
                self.init(name: text)
                return
            }
            self.init(name: String(text[..<at]), state: Store.parseState(String(text[text.index(after: at)...])))
        }
    }

    /// The version that a state is; `.notFound` where no snapshot has that name or the version is to come.
    public func version(of state: State) throws(StoreError) -> Version {
        try ForkedChild.refuse()
        switch state {
        case .head: return isWriter ? pages.flushedVersion : pages.settledVersion
        case .version(let version):
            let last = isWriter ? pages.lastVersion : pages.settledVersion
            guard version <= last else {
                throw StoreError(.notFound, "version \(version) is not there; the last is \(last)", advice: "`varve log` lists them", path: path)
            }
            return version
        case .snapshot(let name):
            guard let snapshot = try pages.snapshot(named: name) else {
                throw StoreError(.notFound, "no snapshot is named '\(name)'", advice: "`varve snapshot list` names them", path: path)
            }
            return snapshot.version
        }
    }

    /// The object of a reference and a view of it in its state.
    func view(_ reference: ObjectReference) throws(StoreError) -> (info: ObjectInfo, view: ObjectView) {
        if reference.state == .head {
            let info = try liveObject(reference.name)
            return (info, try pages.head(of: info.id))
        }
        let version = try version(of: reference.state)
        let info = try object(named: reference.name, at: version)
        return (info, try pages.view(of: info.id, at: version))
    }

    /// The same at one version, which commits that come meanwhile leave alone.
    func pinned(_ reference: ObjectReference) throws(StoreError) -> (view: ObjectView, version: Version) {
        guard reference.state == .head else {
            return (try view(reference).view, try version(of: reference.state))
        }
        var attempts = 0
        while true {
            let info = try liveObject(reference.name)
            let version = try version(of: .head)
            do throws(StoreError) {
                return (try pages.view(of: info.id, at: version), version)
            } catch {
                // Commits may have left that version behind before it was pinned, or made the object after it.
                attempts += 1
                guard error.code == .notRetained || error.code == .notFound, attempts < 100 else { throw error }
            }
        }
    }

    func liveObject(_ name: String) throws(StoreError) -> ObjectInfo {
        try ForkedChild.refuse()
        let info: ObjectInfo?
        if let id = Self.number(name) { info = try pages.object(id) } else { info = try pages.object(named: name) }
        guard let info, info.isLive else {
            throw StoreError(.notFound, "no object is named '\(name)'", advice: "`varve ls` lists the objects", path: path)
        }
        return info
    }

    private static func number(_ name: String) -> ObjectID? {
        guard name.hasPrefix("#") else { return nil }
        return UInt64(name.dropFirst()).map { ObjectID($0) }
    }

    /// The object that had the name at `version`.
    func object(named name: String, at version: Version) throws(StoreError) -> ObjectInfo {
        if let id = Self.number(name), let info = try pages.object(id) { return info }
        if let found = try objectName(name, at: version), let info = try pages.object(found.id) { return info }
        throw StoreError(
            .notFound, "no object was named '\(name)' at version \(version)", advice: "`varve ls --at` lists a version's objects",
            path: path)
    }

    /// The object of a version that a name or a number, `#12`, stands for, with the name it had then; nil where there was none.
    func objectName(_ reference: String, at version: Version) throws(StoreError) -> (id: ObjectID, name: String)? {
        let number = Self.number(reference)
        if isHead(version) {
            let info = if let number { try pages.object(number) } else { try pages.object(named: reference) }
            return info.flatMap { $0.isLive ? ($0.id, $0.name) : nil }
        }
        return try fromCatalog(at: version) { (moment, later) throws(StoreError) in
            let known =
                if let number { try catalog.object(id: number, at: moment) } else { try catalog.object(named: reference, at: moment) }
            var found = known.map { (id: $0.id, name: $0.name ?? "") }
            for change in later {
                switch change {
                case .createObject(let id, let name, _, _), .renameObject(let id, let name):
                    if number == nil ? name == reference : id == number { found = (id, name) } else if found?.id == id { found = nil }
                case .deleteObject(let id):
                    if found?.id == id { found = nil }
                default: break
                }
            }
            return found
        }
    }

    /// The objects of a version with the names they had then.
    func objectNames(at version: Version) throws(StoreError) -> [(id: ObjectID, name: String)] {
        if isHead(version) { return try pages.objects().filter(\.isLive).map { ($0.id, $0.name) } }
        return try fromCatalog(at: version) { (moment, later) throws(StoreError) in
            let known = try catalog.objects(at: moment).map { (id: $0.id, name: $0.name ?? "") }
            guard !later.isEmpty else { return known }
            var names = Dictionary(known.map { ($0.id, $0.name) }, uniquingKeysWith: { first, _ in first })
            for change in later {
                switch change {
                case .createObject(let id, let name, _, _), .renameObject(let id, let name): names[id] = name
                case .deleteObject(let id): names[id] = nil
                default: break
                }
            }
            return names.map { (id: $0.key, name: $0.value) }.sorted { $0.id < $1.id }
        }
    }

    /// Whether a version is what the page store's own tables say.
    private func isHead(_ version: Version) -> Bool { version == (isWriter ? pages.flushedVersion : pages.settledVersion) }

    /// Calls `body` with a version that the catalog knows, `version` or an earlier one, and with what has happened to objects from
    /// there to `version`.
    private func fromCatalog<Result>(
        at version: Version, _ body: (_ moment: Version, _ later: [StoreOperation]) throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        guard isWriter else { return try body(version, []) }
        while true {
            let mark = try catalog.mark
            guard mark < version else { return try body(version, []) }
            let later = try pages.commits(after: mark).filter { $0.version <= version }
            let result = try body(mark, later.flatMap { $0.operations.filter(\.changesObjects) })
            // What the catalog has taken meanwhile may be gone from the outbox, and what it needs no longer from its tables.
            if try catalog.mark == mark { return result }
        }
    }

    /// Reads every page of a view once, so that damage shows now.
    func checkAll(_ view: ObjectView) throws(StoreError) {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 256 * Page.size, alignment: Page.size)
        defer { buffer.deallocate() }
        var page = 0
        while page < view.pageCount {
            let count = min(256, view.pageCount - page)
            for run in view.extents(in: PageRange(start: page, count: count)) where run.extent != .zeros {
                try view.read(run.pages, into: buffer)
            }
            page += count
        }
    }
}

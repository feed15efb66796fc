/// A change of the names in folders.
enum NameChange {
    case add(path: String, file: UInt64)
    case addFolder(path: String)
    case rename(from: String, to: String)
    case remove(path: String)

    /// The folders that it changes.
    var folders: [String] {
        func parent(_ path: String) -> String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "" }
        switch self {
        case .add(let path, _), .addFolder(let path), .remove(let path): return [parent(path)]
        case .rename(let from, let to): return [parent(from), parent(to)]
        }
    }
}

/// Which names there are below a folder, and what they name.
struct FileNames {
    /// Of files their number; of folders nil. Paths are relative.
    private(set) var entries: [String: UInt64?] = [:]

    func file(at path: String) -> UInt64? { entries[path] ?? nil }

    mutating func apply(_ change: NameChange) {
        switch change {
        case .add(let path, let file): entries[path] = .some(file)
        case .addFolder(let path): entries[path] = .some(nil)
        case .remove(let path): entries[path] = nil
        case .rename(let from, let to):
            var moved: [String: UInt64?] = [:]
            for path in entries.keys {
                guard let new = Self.renamed(path, from, to) else { continue }
                moved[new] = entries.removeValue(forKey: path)!
            }
            for (path, entry) in moved { entries[path] = .some(entry) }
        }
    }

    /// What `path` is called after `from` became `to`; nil where it is neither that nor below it.
    static func renamed(_ path: String, _ from: String, _ to: String) -> String? {
        path == from || path.hasPrefix(from + "/") ? to + path.dropFirst(from.count) : nil
    }
}

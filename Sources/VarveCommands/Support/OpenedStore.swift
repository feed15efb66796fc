internal import Varve

extension StoreArgument {
    /// Opens the store for whatever it takes, calls `body`, and closes it in any case.
    ///
    /// Where another process is the writer the store is open for reading, and the writer is asked to do the rest.
    func open<Result>(_ body: (Store) throws -> Result) throws -> Result {
        var options = Store.OpenOptions()
        options.access = .automatic
        let store = try Store.open(path, options: options)
        let result: Result
        do {
            result = try body(store)
        } catch {
            // What went wrong first says more than a failure to close.
            try? store.close()
            throw error
        }
        try store.close()
        return result
    }

    /// Opens the store as its writer; ``StoreError/Code/locked`` where another process is.
    func openToWrite<Result>(_ body: (Store) throws -> Result) throws -> Result {
        try open { store in
            guard store.isWriter else {
                let writer = try store.writerProcess().map { "process \($0)" } ?? "another process"
                throw StoreError(
                    .locked, "the store is being written by \(writer)",
                    advice: "Wait until it is done, or end it; `varve leases \(path)` shows who uses the store",
                    path: path)
            }
            return try body(store)
        }
    }
}

/// States as the command line writes them.
enum StateText {
    /// A version's number, a snapshot's name, or `head` for the last commit.
    static func parse(_ text: String) -> Store.State {
        text == "head" ? .head : Store.parseState(text)
    }

    /// `OBJECT`, `OBJECT@SNAPSHOT`, `OBJECT@VERSION` or `OBJECT@head`.
    static func parseReference(_ text: String) -> Store.ObjectReference {
        var reference = Store.ObjectReference(parsing: text)
        if reference.state == .snapshot("head") { reference.state = .head }
        return reference
    }

    static func describe(_ state: Store.State) -> String {
        switch state {
        case .head: "head"
        case .version(let version): "\(version)"
        case .snapshot(let name): name
        }
    }
}

extension Residency {
    /// As the command line and its JSON name it.
    var label: String {
        switch self {
        case .shared: "shared"
        case .exclusive: "exclusive"
        }
    }
}

extension StateText {
    /// The last commit of an object, whatever characters its name holds.
    static func head(of name: String) -> Store.ObjectReference { Store.ObjectReference(name: name, state: .head) }
}

internal import Varve

extension StoreArgument {
    /// Opens the store for whatever it takes, calls `body`, and closes it in any case.
    ///
    /// Where another process is the writer the store is open for reading, and the writer is asked to do the rest.
    func open<Result>(_ body: (Store) throws -> Result) throws -> Result {
        try use(Store.open(path, options: Store.OpenOptions(access: .automatic, isBrief: true)), body)
    }

    private func use<Result>(_ store: Store, _ body: (Store) throws -> Result) throws -> Result {
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
        try use(Store.open(path), body)
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

    /// Throws where the command line would take a snapshot's name for something else.
    static func requireSnapshotName(_ name: String) throws {
        guard name.contains(where: { !("0"..."9").contains($0) }), name != "head" else {
            throw CommandFailure.usage(
                message: "a snapshot can't be named '\(name)': that names a version",
                advice: "Use a name that is not only digits, and not `head`")
        }
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

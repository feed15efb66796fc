internal import VirtualMemory
internal import VMTypes

extension PersistentHeap {
    /// Runs `body`, and commits what it changed; where it throws, every byte is what it was, and the error goes on.
    ///
    /// ```swift
    /// try heap.transaction {
    ///     from.value -= amount
    ///     guard from.value >= 0 else { throw Refused() }
    ///     to.value += amount
    /// }
    /// ```
    ///
    /// A transaction begins on a committed state, and holds up changes, commits and transactions of other threads until it
    /// ends. One within another joins it: the outermost one commits. Where an inner one throws, the outermost can't commit any
    /// more, also where the error was caught: it is undone, and throws `.doomed`. There is no `await` within.
    ///
    /// Where the commit fails, everything is undone too; but where it is not known whether it took place (the cause is
    /// `.unknownOutcome`), memory stays as `body` left it, and reopening tells.
    ///
    /// Roots and references that `body` made mean nothing once it was undone. Where undoing fails, the store's error is thrown
    /// in place of `body`'s, and what is not yet undone is uncommitted: abandon again.
    /// - Parameter declaredOnly: As for `commit`. Whether the state is a committed one is then judged by what was declared too:
    ///   it costs no look at memory.
    /// - Throws: `.uncommittedChanges`, `.doomed`, `.wrongState` within a change, `.readOnly`, `.store`; what `body` throws.
    public func transaction<Result>(
        message: String = "", durability: Durability = .synced, declaredOnly: Bool = false, _ body: () throws -> Result
    ) throws -> Result {
        try space.requireWritable()
        let gate = space.gate
        if gate.isHeldHere, gate.transaction.depth > 0 { return try joined(body) }
        try requireOutside("a transaction")
        gate.close()
        defer { gate.open() }
        try requireCommitted(declaredOnly)
        gate.transaction = WriteGate.Transaction(depth: 1)
        defer { gate.transaction = WriteGate.Transaction() }
        let result: Result
        do {
            result = try body()
        } catch {
            try abandonClosed()
            throw error
        }
        guard !gate.transaction.isDoomed else {
            try abandonClosed()
            throw HeapError(
                .doomed, "a transaction inside this one was abandoned, so that none of it can be committed",
                advice: "Let the error of the inner one through")
        }
        do throws(HeapError) {
            _ = try commitClosed(message, durability, declaredOnly, nil)
        } catch {
            switch error.cause?.code {
            // The version stands, or nobody knows.
            case .unknownOutcome, .poisoned, .notReturned: throw error
            default: try abandonClosed()
            }
            throw error
        }
        return result
    }

    private func joined<Result>(_ body: () throws -> Result) throws -> Result {
        let gate = space.gate
        guard !gate.transaction.isDoomed else {
            throw HeapError(.doomed, "a transaction was abandoned within the one that is open", advice: "Leave the outermost one")
        }
        gate.transaction.depth += 1
        defer { gate.transaction.depth -= 1 }
        do { return try body() } catch {
            gate.transaction.isDoomed = true
            throw error
        }
    }

    private func requireCommitted(_ declaredOnly: Bool) throws(HeapError) {
        var isCommitted = !space.gate.hasDeclared
        if isCommitted, !declaredOnly {
            isCommitted = try HeapError.translating { () throws(StoreError) in try !store.hasUncommittedChanges() }
        }
        guard isCommitted else {
            throw HeapError(
                .uncommittedChanges, "a transaction can't begin: there are changes that no commit has made durable",
                advice: "Commit or abandon them first")
        }
    }
}

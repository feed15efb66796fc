internal import VirtualMemory
public import VMTypes

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
        try enter(declaredOnly)
        let gate = space.gate
        let outside = gate.transaction.closures
        gate.transaction.closures = gate.transaction.depth
        let result: Result
        do {
            result = try body()
        } catch {
            leaveClosure(outside)
            try undo()
            throw error
        }
        leaveClosure(outside)
        try leave(message, durability, declaredOnly)
        return result
    }

    /// Begins a transaction that `commitTransaction` or `abandonTransaction` ends, on the same thread: for callers, such as other
    /// languages', whose blocks are no closures. `transaction(_:)`, which says what holds of both, can't be left open.
    ///
    /// One that begins within another joins it. Where the thread ends with a transaction open, nobody else can change the
    /// store's heaps any more.
    /// - Throws: `.uncommittedChanges`, `.doomed`, `.wrongState` within a change, `.readOnly`, `.store`.
    public func beginTransaction(declaredOnly: Bool = false) throws(HeapError) { try enter(declaredOnly) }

    /// Ends the transaction that this thread began last, and commits where no other is around it.
    ///
    /// Where that throws, the transaction is over too, and undone but where `transaction(_:)` says otherwise.
    /// - Returns: The version; nil where another transaction is around this one.
    /// - Throws: `.wrongState` where this thread has begun none, or none since the closure began that it runs in; `.doomed`,
    ///   `.store`.
    @discardableResult
    public func commitTransaction(
        message: String = "", durability: Durability = .synced, declaredOnly: Bool = false
    ) throws(HeapError) -> Version? {
        try requireBegun()
        return try leave(message, durability, declaredOnly)
    }

    /// Ends the transaction that this thread began last: every byte is what it was. Where another is around it, that is undone
    /// at its own end, and can't commit.
    ///
    /// - Throws: `.wrongState` as `commitTransaction` does; `.store` where undoing fails: what is not yet undone is uncommitted.
    public func abandonTransaction() throws(HeapError) {
        try requireBegun()
        try undo()
    }

    private func requireBegun() throws(HeapError) {
        let gate = space.gate
        guard gate.isHeldHere, gate.transaction.depth > gate.transaction.closures else {
            throw HeapError(
                .wrongState, "this thread has begun no transaction here that is open", advice: "Begin and end it on one thread")
        }
        guard !gate.isChangingHere else {
            throw HeapError(.wrongState, "a transaction can't be ended within a change", advice: "End it after the change")
        }
    }

    /// Joins the transaction of this thread, or begins one: the gate is closed until its end.
    private func enter(_ declaredOnly: Bool) throws(HeapError) {
        try space.requireWritable()
        let gate = space.gate
        if gate.isHeldHere, gate.transaction.depth > 0 {
            guard !gate.transaction.isDoomed else {
                throw HeapError(
                    .doomed, "a transaction was abandoned within the one that is open", advice: "Leave the outermost one")
            }
            gate.transaction.depth += 1
            return
        }
        try requireOutside("a transaction")
        gate.close()
        do throws(HeapError) {
            // It may have been closed while this thread waited.
            try space.requireWritable()
            try requireCommitted(declaredOnly)
        } catch {
            gate.open()
            throw error
        }
        gate.transaction = WriteGate.Transaction(depth: 1)
    }

    /// Leaves a closure. Transactions that it began and did not end can't be committed by anybody: they doom what is around.
    private func leaveClosure(_ outside: Int) {
        let gate = space.gate
        if gate.transaction.depth > gate.transaction.closures { gate.transaction.isDoomed = true }
        gate.transaction.depth = gate.transaction.closures
        gate.transaction.closures = outside
    }

    /// Ends the innermost transaction; the outermost one commits.
    @discardableResult
    private func leave(_ message: String, _ durability: Durability, _ declaredOnly: Bool) throws(HeapError) -> Version? {
        let gate = space.gate
        guard gate.transaction.depth == 1 else {
            gate.transaction.depth -= 1
            return nil
        }
        defer { finish() }
        guard !gate.transaction.isDoomed else {
            try abandonClosed()
            throw HeapError(
                .doomed, "a transaction inside this one was abandoned, so that none of it can be committed",
                advice: "Let the error of the inner one through")
        }
        do throws(HeapError) {
            return try commitClosed(message, durability, declaredOnly, nil)
        } catch {
            switch error.cause?.code {
            // The version stands, or nobody knows.
            case .unknownOutcome, .poisoned, .notReturned: throw error
            default: try abandonClosed()
            }
            throw error
        }
    }

    /// Ends the innermost transaction; the outermost one is undone at once, or can only be.
    private func undo() throws(HeapError) {
        let gate = space.gate
        guard gate.transaction.depth == 1 else {
            gate.transaction.depth -= 1
            gate.transaction.isDoomed = true
            return
        }
        defer { finish() }
        try abandonClosed()
    }

    private func finish() {
        space.gate.transaction = WriteGate.Transaction()
        space.gate.open()
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

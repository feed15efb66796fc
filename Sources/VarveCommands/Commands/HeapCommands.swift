internal import ArgumentParser
internal import Varve

/// `varve heap`
struct HeapCommand: CommandHolder {
    static let configuration = CommandConfiguration(
        commandName: "heap",
        abstract: "Look into persistent heaps: their memory, roots, consistency and leaks.",
        discussion: """
            They read what is committed, while the heap is in use too.

            Example:
              varve heap stat counter.varve
              varve heap roots counter.varve --at before
            """,
        subcommands: [HeapStatCommand.self, HeapRootsCommand.self, HeapCheckCommand.self, HeapLeaksCommand.self])
}

/// Which heap of a store, and when.
struct HeapArguments: ParsableArguments {
    @OptionGroup var store: StoreArgument
    @Option(name: .customLong("heap"), help: "The heap's name.")
    var name = "heap"
    @Option(name: .customLong("at"), help: "A past state: a snapshot or a version.")
    var state = "head"

    func read<Result>(checking: Bool = false, _ body: (PersistentHeap) throws -> Result) throws -> Result {
        try store.open(checksOnMap: checking) { store in
            let heap = try PersistentHeap.view(of: store, name: name, at: StateText.parse(state))
            defer { withExtendedLifetime(heap) {} }
            return try body(heap)
        }
    }

    /// What every answer says of where it comes from.
    var json: [(String, JSON)] {
        [("store", .string(store.path)), ("heap", .string(name)), ("state", .string(state))]
    }
}

/// `varve heap stat`
struct HeapStatCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "stat",
        abstract: "Show how a heap's memory is used.",
        discussion: """
            Fragmented is the part that is not allocated of all that blocks, the spans they share and the gaps between \
            these take.

            Example:
              varve heap stat counter.varve
            """)

    @OptionGroup var heap: HeapArguments
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (audit, capacity, roots) = try heap.read { (HeapAudit($0), $0.capacity, try $0.rootRecords().count) }
        try output.show(console, json: json(audit, capacity, roots), text: text(audit, capacity, roots))
        return .success
    }

    private func text(_ audit: HeapAudit, _ capacity: Int, _ roots: Int) -> String {
        var facts = Facts()
        facts.add("Heap", "\(heap.name) of \(heap.store.path)")
        facts.add("Capacity", "\(ByteSize.text(capacity)), of which \(ByteSize.text(audit.tableBytes)) tables")
        facts.add("Roots", "\(roots)")
        facts.add("Allocated", "\(audit.blocks) blocks, \(ByteSize.text(audit.blockBytes))")
        facts.add("Free between", ByteSize.text(audit.usedBytes + audit.freeBytes - audit.blockBytes))
        facts.add("Fragmented", "\(ByteSize.fixed(audit.fragmentation * 100, digits: 1)) %")
        guard audit.blocks > 0 else { return facts.text }
        var table = Table(("BLOCK", .right), ("ALLOCATED", .right), ("FREE", .right), ("BYTES", .right))
        for size in audit.sizes {
            table.add("\(size.byteCount)", "\(size.blocks)", "\(size.freeBlocks)", ByteSize.text(size.blocks * size.byteCount))
        }
        if audit.largeBlocks > 0 { table.add("larger", "\(audit.largeBlocks)", "", ByteSize.text(audit.largeBytes)) }
        return facts.text + "\n\n" + table.text
    }

    private func json(_ audit: HeapAudit, _ capacity: Int, _ roots: Int) -> JSON {
        .object(
            heap.json + [
                ("capacity", .integer(capacity)), ("table_bytes", .integer(audit.tableBytes)), ("roots", .integer(roots)),
                ("blocks", .integer(audit.blocks)), ("block_bytes", .integer(audit.blockBytes)),
                ("used_bytes", .integer(audit.usedBytes)), ("free_bytes", .integer(audit.freeBytes)),
                ("fragmentation", .number((audit.fragmentation * 1e6).rounded() / 1e6)),
                ("large_blocks", .integer(audit.largeBlocks)), ("large_bytes", .integer(audit.largeBytes)),
                ("sizes", .array(
                    audit.sizes.map {
                        .object([
                            ("block_bytes", .integer($0.byteCount)), ("spans", .integer($0.spans)), ("blocks", .integer($0.blocks)),
                            ("free_blocks", .integer($0.freeBlocks)),
                        ])
                    })),
            ])
    }
}

/// `varve heap roots`
struct HeapRootsCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "roots",
        abstract: "List a heap's roots: names, types, and the values of numbers.",
        discussion: """
            A type is shown as it is recorded: the names, places and types of its fields.

            Example:
              varve heap roots counter.varve
            """)

    @OptionGroup var heap: HeapArguments
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let roots = try heap.read { heap in try heap.rootRecords().map { (root: $0, value: RootNumber(heap, $0)) } }
        var table = Table(("NAME", .left), ("VERSION", .right), ("VALUE", .right), ("TYPE", .left))
        for (root, value) in roots { table.add(root.name, "\(root.version)", value?.text ?? "", root.layout) }
        try output.show(
            console,
            json: .object(
                heap.json + [
                    ("roots", .array(
                        roots.map { root, value in
                            .object([
                                ("name", .string(root.name)), ("version", .integer(root.version)), ("type", .string(root.layout)),
                                ("collection", .bool(root.isContainer)), ("offset", .integer(root.offset)),
                                ("value", value?.json ?? .null),
                            ])
                        }))
                ]),
            text: roots.isEmpty ? "No roots." : table.text)
        return .success
    }
}

/// `varve heap check`
struct HeapCheckCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check that a heap's tables and roots agree with each other.",
        discussion: """
            Exits with 12 where they do not. Every page is checked against its checksum first; `varve verify` checks \
            the whole store.

            Example:
              varve heap check counter.varve
            """)

    @OptionGroup var heap: HeapArguments
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let audit = try heap.read(checking: true) { HeapAudit($0) }
        let problems = audit.problems.map { "DAMAGED at offset \($0.offset): \(Printable.text($0.message))" }
        try output.show(
            console,
            json: .object(
                heap.json + [
                    ("ok", .bool(audit.problems.isEmpty)), ("blocks", .integer(audit.blocks)),
                    ("block_bytes", .integer(audit.blockBytes)),
                    ("problems", .array(
                        audit.problems.map { .object([("offset", .integer($0.offset)), ("message", .string($0.message))]) })),
                ]),
            text: problems.isEmpty
                ? "Intact: \(audit.blocks) blocks, \(ByteSize.text(audit.blockBytes))." : problems.joined(separator: "\n"))
        return audit.problems.isEmpty ? .success : .damaged
    }
}

/// `varve heap leaks`
struct HeapLeaksCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "leaks",
        abstract: "List allocated blocks that no root leads to.",
        discussion: """
            Exits with 1 where there are any. Roots are followed conservatively: every aligned word that could be a \
            reference or an address of the heap is taken for one, so that a number may hide a leak, and what is only \
            reached by words that are not aligned, or computed, is listed though it is in use.

            Example:
              varve heap leaks counter.varve
            """)

    @OptionGroup var heap: HeapArguments
    @Option(help: ArgumentHelp("How many to list at most; they are all counted.", valueName: "number"))
    var limit = 100
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if limit < 0 { throw ValidationError("--limit needs a number from 0 on.") }
    }

    func execute(_ console: Console) throws -> ExitStatus {
        let reach = try heap.read { HeapReach($0) }
        let bytes = reach.leaks.reduce(0) { $0 + $1.byteCount }
        let shown = reach.leaks.prefix(limit)
        try output.show(
            console,
            json: .object(
                heap.json + [
                    ("method", .string("conservative")), ("reachable_blocks", .integer(reach.reachableBlocks)),
                    ("reachable_bytes", .integer(reach.reachableBytes)), ("leaked_blocks", .integer(reach.leaks.count)),
                    ("leaked_bytes", .integer(bytes)),
                    ("leaks", .array(
                        shown.map { .object([("offset", .integer($0.offset)), ("block_bytes", .integer($0.byteCount))]) })),
                ]),
            text: text(reach, bytes, shown))
        return reach.leaks.isEmpty ? .success : .differences
    }

    private func text(_ reach: HeapReach, _ bytes: Int, _ shown: ArraySlice<HeapReach.Block>) -> String {
        let reached = "\(reach.reachableBlocks) blocks (\(ByteSize.text(reach.reachableBytes))) are reached conservatively"
        guard !reach.leaks.isEmpty else { return "No leaks: \(reached)." }
        var lines = ["\(reach.leaks.count) blocks (\(ByteSize.text(bytes))) are leaked; \(reached)."]
        if !shown.isEmpty {
            var table = Table(("OFFSET", .right), ("BYTES", .right))
            for block in shown { table.add("\(block.offset)", "\(block.byteCount)") }
            lines.append(table.text)
        }
        if shown.count < reach.leaks.count { lines.append("… and \(reach.leaks.count - shown.count) more; --limit shows them.") }
        return lines.joined(separator: "\n")
    }
}

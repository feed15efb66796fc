internal import ArgumentParser
internal import Varve

/// `varve heap`
struct HeapCommand: CommandHolder {
    static let configuration = CommandConfiguration(
        commandName: "heap",
        abstract: "Look into persistent heaps: their memory, roots, consistency, leaks and changes.",
        discussion: """
            They read what is committed, while the heap is in use too.

            Example:
              varve heap stat counter.varve
              varve heap roots counter.varve --at before
            """,
        subcommands: [HeapStatCommand.self, HeapRootsCommand.self, HeapCheckCommand.self, HeapLeaksCommand.self, HeapDiffCommand.self])
}

/// Which heap of a store, and when.
struct HeapArguments: ParsableArguments {
    @OptionGroup var store: StoreArgument
    @Option(name: .customLong("heap"), help: "The heap's name.")
    var name = "heap"
    @Option(name: .customLong("at"), help: "A past state: a snapshot or a version.")
    var state = "head"

    func read<Result>(checking: Bool = false, _ body: (PersistentHeap) throws -> Result) throws -> Result {
        var options = PersistentHeap.Options(name: name)
        options.open.checksOnMap = checking
        let heap = try PersistentHeap.open(store.path, at: StateText.parse(state), options: options)
        let result: Result
        do { result = try body(heap) } catch {
            // What went wrong first says more than a failure to close.
            try? heap.close()
            throw error
        }
        try heap.close()
        return result
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
            Fragmented is the part of the memory up to the last block that no allocated block can use.

            Example:
              varve heap stat counter.varve
            """)

    @OptionGroup var heap: HeapArguments
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let (use, roots) = try heap.read { (try $0.statistics(), try $0.rootRecords().count) }
        try output.show(console, json: json(use, roots), text: text(use, roots))
        return .success
    }

    private func text(_ use: HeapStatistics, _ roots: Int) -> String {
        var facts = Facts()
        facts.add("Heap", "\(heap.name) of \(heap.store.path)")
        facts.add("Capacity", "\(ByteSize.text(use.capacity)), of which \(ByteSize.text(use.usableCapacity)) for blocks")
        facts.add("Roots", "\(roots)")
        facts.add("Allocated", "\(use.allocatedBlocks) blocks, \(ByteSize.text(use.allocatedBytes))")
        facts.add("In use", "the first \(ByteSize.text(use.extent))")
        facts.add("Fragmented", "\(ByteSize.fixed(use.fragmentation * 100, digits: 1)) %")
        facts.add("Free runs", "\(use.freeRuns), \(ByteSize.text(use.freeRunBytes)), the longest \(ByteSize.text(use.longestFreeRun))")
        guard use.allocatedBlocks > 0 else { return facts.text }
        var table = Table(("BLOCK", .right), ("ALLOCATED", .right), ("FREE", .right), ("BYTES", .right))
        for size in use.classes {
            table.add("\(size.blockBytes)", "\(size.allocatedBlocks)", "\(size.freeBlocks)", ByteSize.text(size.allocatedBlocks * size.blockBytes))
        }
        if use.largeBlocks > 0 { table.add("larger", "\(use.largeBlocks)", "", ByteSize.text(use.largeBytes)) }
        return facts.text + "\n\n" + table.text
    }

    private func json(_ use: HeapStatistics, _ roots: Int) -> JSON {
        .object(
            heap.json + [
                ("capacity", .integer(use.capacity)), ("usable_capacity", .integer(use.usableCapacity)), ("roots", .integer(roots)),
                ("blocks", .integer(use.allocatedBlocks)), ("block_bytes", .integer(use.allocatedBytes)),
                ("extent", .integer(use.extent)), ("fragmentation", .number((use.fragmentation * 1e6).rounded() / 1e6)),
                ("free_runs", .integer(use.freeRuns)), ("free_run_bytes", .integer(use.freeRunBytes)),
                ("longest_free_run", .integer(use.longestFreeRun)), ("large_blocks", .integer(use.largeBlocks)),
                ("large_bytes", .integer(use.largeBytes)),
                ("sizes", .array(
                    use.classes.map {
                        .object([
                            ("block_bytes", .integer($0.blockBytes)), ("span_bytes", .integer($0.spanBytes)),
                            ("blocks", .integer($0.allocatedBlocks)), ("free_blocks", .integer($0.freeBlocks)),
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
        abstract: "Check that a heap's tables, roots and collections agree with each other.",
        discussion: """
            Exits with 12 where they do not. Every page is checked against its checksum first; `varve verify` checks \
            the whole store.

            Example:
              varve heap check counter.varve
            """)

    @OptionGroup var heap: HeapArguments
    @OptionGroup var output: OutputOptions

    func execute(_ console: Console) throws -> ExitStatus {
        let report = try heap.read(checking: true) { try $0.check() }
        let problems = report.problems
        try output.show(
            console,
            json: .object(
                heap.json + [
                    ("ok", .bool(problems.isEmpty)), ("blocks", .integer(report.statistics.allocatedBlocks)),
                    ("block_bytes", .integer(report.statistics.allocatedBytes)),
                    ("problems", .array(problems.map { .string($0) })),
                ]),
            text: problems.isEmpty
                ? "Intact: \(report.statistics.allocatedBlocks) blocks, \(ByteSize.text(report.statistics.allocatedBytes))."
                : problems.map { "DAMAGED: \(Printable.text($0))" }.joined(separator: "\n"))
        return problems.isEmpty ? .success : .damaged
    }
}

/// `varve heap leaks`
struct HeapLeaksCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "leaks",
        abstract: "List allocated blocks that no root leads to.",
        discussion: """
            Exits with 1 where there are any. Collections are followed by the types that are recorded of them. Roots \
            whose types hold references or pointers, or are another language's, are followed conservatively, and \
            named: every aligned word that could be a reference or an address of the heap is taken for one, so that a \
            number may hide a leak, and what is only reached otherwise is listed though it is in use.

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
        let reach = try heap.read { try HeapReach($0) }
        let bytes = reach.leaks.reduce(0) { $0 + $1.byteCount }
        let shown = reach.leaks.prefix(limit)
        try output.show(
            console,
            json: .object(
                heap.json + [
                    ("conservative_roots", .array(reach.conservativeRoots.map { .string($0) })), ("reachable_blocks", .integer(reach.reachableBlocks)),
                    ("reachable_bytes", .integer(reach.reachableBytes)), ("leaked_blocks", .integer(reach.leaks.count)),
                    ("leaked_bytes", .integer(bytes)),
                    ("leaks", .array(
                        shown.map { .object([("offset", .integer($0.offset)), ("block_bytes", .integer($0.byteCount))]) })),
                ]),
            text: text(reach, bytes, shown))
        return reach.leaks.isEmpty ? .success : .differences
    }

    private func text(_ reach: HeapReach, _ bytes: Int, _ shown: ArraySlice<HeapReach.Block>) -> String {
        let names = reach.conservativeRoots.map { Printable.text($0) }.joined(separator: ", ")
        let reached =
            "\(reach.reachableBlocks) blocks (\(ByteSize.text(reach.reachableBytes))) are reached by their types"
            + (names.isEmpty ? "" : ", conservatively from \(names)")
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

internal import ArgumentParser
internal import Varve

/// `varve heap diff`
struct HeapDiffCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Compare two states of a heap, root by root.",
        discussion: """
            A state is a snapshot, a version, or `head`. Of roots that are collections of numbers, texts and collections, \
            the elements that differ are listed; what is of another type is compared by its bytes, and marked so. Exits \
            with 1 where they differ, with 0 where they don't.

            Example:
              varve heap diff counter.varve before
              varve heap diff counter.varve 12 15 --heap index
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "The state before.")
    var a: String
    @Argument(help: "The state after.")
    var b: String = "head"
    @Option(name: .customLong("heap"), help: "The heap's name.")
    var name = "heap"
    @Option(help: ArgumentHelp("How many elements to list of a root at most; they are all counted.", valueName: "number"))
    var limit = 100
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if limit < 0 { throw ValidationError("--limit needs a number from 0 on.") }
    }

    func execute(_ console: Console) throws -> ExitStatus {
        let states = (StateText.parse(a), StateText.parse(b))
        let old = try PersistentHeap.open(store.path, at: states.0, options: PersistentHeap.Options(name: name))
        let difference: HeapDifference
        let versions: (Version, Version)
        do {
            versions = (try old.store.version(of: states.0), try old.store.version(of: states.1))
            difference = try old.reading(at: states.1) { try HeapDifference(from: old, to: $0) }
        } catch {
            // What went wrong first says more than a failure to close.
            try? old.close()
            throw error
        }
        try old.close()
        let report = HeapDifferenceReport(difference, limit: limit)
        try output.show(
            console,
            json: .object([
                ("store", .string(store.path)), ("heap", .string(name)), ("a", Self.json(a, versions.0)),
                ("b", Self.json(b, versions.1)), ("different", .bool(!difference.roots.isEmpty)), ("roots", report.json),
            ]),
            text: difference.roots.isEmpty
                ? "No differences between \(Printable.text(a)) and \(Printable.text(b))." : report.text)
        return difference.roots.isEmpty ? .success : .differences
    }

    private static func json(_ state: String, _ version: Version) -> JSON {
        .object([("state", .string(state)), ("version", .unsigned(version.rawValue))])
    }
}

/// What two states of a heap differ in, for people and programs.
private struct HeapDifferenceReport {
    let difference: HeapDifference
    let limit: Int

    init(_ difference: HeapDifference, limit: Int) {
        self.difference = difference
        self.limit = limit
    }

    private static func sign(_ kind: HeapDifference.Kind) -> String {
        switch kind {
        case .added: "+"
        case .removed: "-"
        case .changed: "~"
        }
    }

    var text: String { difference.roots.map(text).joined(separator: "\n") }

    private func text(_ root: HeapDifference.Root) -> String {
        var line = "\(Self.sign(root.kind)) \(Printable.text(root.name))"
        let (before, after) = (Printable.text(root.typeBefore), Printable.text(root.typeAfter))
        switch root.kind {
        case .added: line += ": \(after)"
        case .removed: line += ": \(before)"
        case .changed:
            line += before == after ? ": \(after)" : ": \(before) → \(after)"
            if root.versionBefore != root.versionAfter { line += ", version \(root.versionBefore) → \(root.versionAfter)" }
            if root.isByBytes { line += " (compared by bytes)" }
        }
        var lines = [line]
        if let before = root.before, let after = root.after { lines.append("    \(Shown.text(before)) → \(Shown.text(after))") }
        for element in root.elements.prefix(limit) {
            var line = "  \(Self.sign(element.kind)) \(Shown.text(element.place))"
            switch (element.before, element.after) {
            case (let before?, let after?): line += ": \(Shown.text(before)) → \(Shown.text(after))"
            case (let one?, nil), (nil, let one?): line += ": \(Shown.text(one))"
            case (nil, nil): break
            }
            lines.append(line)
        }
        if root.elements.count > limit { lines.append("  … and \(root.elements.count - limit) more; --limit shows them.") }
        return lines.joined(separator: "\n")
    }

    var json: JSON {
        .array(
            difference.roots.map { root in
                .object([
                    ("name", .string(root.name)), ("kind", .string(root.kind.rawValue)),
                    ("type_before", root.kind == .added ? .null : .string(root.typeBefore)),
                    ("type_after", root.kind == .removed ? .null : .string(root.typeAfter)),
                    ("version_before", root.kind == .added ? .null : .integer(root.versionBefore)),
                    ("version_after", root.kind == .removed ? .null : .integer(root.versionAfter)),
                    ("by_bytes", .bool(root.isByBytes)), ("before", Shown.json(root.before)), ("after", Shown.json(root.after)),
                    ("changed_elements", .integer(root.elements.count)),
                    ("elements", .array(
                        root.elements.prefix(limit).map {
                            .object([
                                ("kind", .string($0.kind.rawValue)), ("place", Shown.json($0.place)),
                                ("before", Shown.json($0.before)), ("after", Shown.json($0.after)),
                            ])
                        })),
                ])
            })
    }
}

/// Values of a heap, for people and programs.
private enum Shown {
    /// Longer ones end in an ellipsis.
    private static let longest = 120

    static func text(_ value: StoredContents) -> String {
        let text = whole(value)
        return text.count > longest ? text.prefix(longest) + "…" : text
    }

    private static func whole(_ value: StoredContents) -> String {
        switch value {
        case .signed(let number): "\(number)"
        case .unsigned(let number): "\(number)"
        case .double(let bits): "\(Double(bitPattern: bits))"
        case .float(let bits): "\(Float(bitPattern: bits))"
        case .bool(let value): "\(value)"
        case .text(let bytes): "\"\(Printable.text(String(decoding: bytes, as: UTF8.self)))\""
        case .bytes(let bytes), .unknown(let bytes): hex(bytes)
        case .structure(let bytes, let parts): "\(hex(bytes)) with [\(list(parts))]"
        case .array(let elements): "[\(list(elements))]"
        case .set(let members): "[\(list(members.sorted()))]"
        case .pairs(let pairs):
            pairs.isEmpty ? "[:]" : "[" + pairs.keys.sorted().prefix(longest).map { "\(whole($0)): \(whole(pairs[$0]!))" }.joined(separator: ", ") + "]"
        }
    }

    /// No more than can be shown of it.
    private static func list(_ values: [StoredContents]) -> String { values.prefix(longest).map(whole).joined(separator: ", ") }

    private static func hex(_ bytes: [UInt8]) -> String {
        let shown = bytes.prefix(24).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return bytes.count > 24 ? "0x\(shown)… (\(bytes.count) bytes)" : "0x\(shown)"
    }

    private static func allHex(_ bytes: [UInt8]) -> JSON {
        .string(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())
    }

    /// Bytes as two hexadecimal digits each; pairs as arrays of two.
    static func json(_ value: StoredContents?) -> JSON {
        switch value {
        case nil: .null
        case .signed(let number): .integer(Int(number))
        case .unsigned(let number): .unsigned(number)
        case .double(let bits): .number(Double(bitPattern: bits))
        case .float(let bits): .number(Double(Float(bitPattern: bits)))
        case .bool(let value): .bool(value)
        case .text(let bytes): .string(String(decoding: bytes, as: UTF8.self))
        case .bytes(let bytes), .unknown(let bytes): allHex(bytes)
        case .structure(let bytes, let parts): .object([("bytes", allHex(bytes)), ("parts", .array(parts.map(json)))])
        case .array(let elements): .array(elements.map(json))
        case .set(let members): .array(members.sorted().map(json))
        case .pairs(let pairs): .array(pairs.keys.sorted().map { .array([json($0), json(pairs[$0])]) })
        }
    }
}

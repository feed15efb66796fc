internal import ArgumentParser

/// A word that stands where a command was expected and names none.
struct MisspeltCommand {
    let word: String
    let parents: [String]
    let suggestions: [String]

    /// Follows `arguments` down the tree of commands; nil where each word on the way names one.
    static func find(in arguments: [String], of root: any ParsableCommand.Type) -> MisspeltCommand? {
        var current = root
        var parents = [name(of: root)]
        for word in arguments {
            let children = current.configuration.subcommands
            if children.isEmpty || word.hasPrefix("-") { return nil }
            if word == "help" && parents.count == 1 { return nil }
            if let child = children.first(where: { name(of: $0) == word }) {
                current = child
                parents.append(word)
                continue
            }
            let names = children.filter { $0.configuration.shouldDisplay }.map(name(of:))
            return MisspeltCommand(word: word, parents: parents, suggestions: nearest(to: word, in: names))
        }
        return nil
    }

    /// What to tell the person.
    var failure: CommandFailure {
        let path = parents.joined(separator: " ")
        let advice =
            suggestions.isEmpty
            ? "`\(path) --help` lists the commands"
            : "Did you mean " + suggestions.map { "`\(path) \($0)`" }.joined(separator: " or ") + "?"
        return .usage(message: "`\(path)` has no command '\(word)'", advice: advice)
    }

    private static func name(of command: any ParsableCommand.Type) -> String {
        command.configuration.commandName ?? ""
    }

    /// The names that take the fewest edits, where these are few for the length of the word; or that it begins.
    static func nearest(to word: String, in names: [String]) -> [String] {
        let limit = max(1, min(3, word.count / 2))
        let measured = names.map { (name: $0, edits: edits(Array(word), Array($0))) }
        let fewest = measured.map(\.edits).min() ?? .max
        if fewest <= limit { return measured.filter { $0.edits == fewest }.map(\.name) }
        return word.count > 1 ? names.filter { $0.hasPrefix(word) } : []
    }

    /// Insertions, removals, replacements and swaps of neighbours that turn `a` into `b`.
    static func edits(_ a: [Character], _ b: [Character]) -> Int {
        var rows = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count { rows[i][0] = i }
        for j in 0...b.count { rows[0][j] = j }
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        for i in 1...a.count {
            for j in 1...b.count {
                var best = min(rows[i - 1][j], rows[i][j - 1]) + 1
                best = min(best, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    best = min(best, rows[i - 2][j - 2] + 1)
                }
                rows[i][j] = best
            }
        }
        return rows[a.count][b.count]
    }
}

/// Text that can't move a terminal's cursor.
enum Printable {
    /// `text` with control characters written as escapes; names may hold any of them.
    static func text(_ text: String, keepingLines: Bool = false) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": result += keepingLines ? "\n" : "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case _ where isControl(scalar): result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: true
        default: false
        }
    }
}

/// Rows under headings, in columns as wide as their widest cell.
struct Table {
    enum Alignment { case left, right }
    private let columns: [(heading: String, alignment: Alignment)]
    private var rows: [[String]] = []

    init(_ columns: (String, Alignment)...) {
        self.columns = columns.map { (heading: $0.0, alignment: $0.1) }
    }

    mutating func add(_ cells: String...) {
        rows.append(cells.map { Printable.text($0) })
    }

    var text: String {
        let all = [columns.map(\.heading)] + rows
        let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in line(row, widths) }.joined(separator: "\n")
    }

    private func line(_ row: [String], _ widths: [Int]) -> String {
        var cells: [String] = []
        for (column, cell) in row.enumerated() {
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            cells.append(columns[column].alignment == .left ? cell + padding : padding + cell)
        }
        var line = cells.joined(separator: "  ")
        while line.hasSuffix(" ") { line.removeLast() }
        return line
    }
}

/// Names and values, one a line, the values aligned.
struct Facts {
    private var facts: [(String, String)] = []

    mutating func add(_ name: String, _ value: String) { facts.append((name, Printable.text(value))) }

    var text: String {
        let width = facts.map(\.0.count).max() ?? 0
        return facts.map { name, value in
            "\(name):" + String(repeating: " ", count: width - name.count + 1) + value
        }.joined(separator: "\n")
    }
}

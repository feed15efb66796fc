internal import Varve

/// An object's pages as rows of cells, each of which stands for as many pages; rows in which nothing changed are left out.
struct HeatGrid {
    static let columns = 64

    struct Row {
        /// The first page of the first cell.
        var page: Int
        /// The most changes of any page of each cell.
        var cells: [Int]
    }

    let counts: Store.ChangeCounts
    /// Pages of a cell: a power of two.
    let pagesPerCell: Int
    let rows: [Row]
    /// The most changes of any page; 0 where none changed.
    let most: Int

    /// Chooses the finest cells that need `rowLimit` rows at most.
    init(_ counts: Store.ChangeCounts, rowLimit: Int) {
        self.counts = counts
        most = counts.runs.map(\.changes).max() ?? 0
        var pagesPerCell = 1
        while true {
            let perRow = pagesPerCell * Self.columns
            var used = 0
            var last = -1
            for run in counts.runs {
                let first = max(last + 1, run.pages.start / perRow)
                let end = (run.pages.end - 1) / perRow
                if end >= first { used += end - first + 1 }
                last = max(last, end)
            }
            if used <= rowLimit { break }
            pagesPerCell *= 2
        }
        self.pagesPerCell = pagesPerCell
        rows = Self.rows(counts, pagesPerCell)
    }

    private static func rows(_ counts: Store.ChangeCounts, _ pagesPerCell: Int) -> [Row] {
        let pageCount = Page.count(forBytes: Int(clamping: counts.size))
        var rows: [Row] = []
        for run in counts.runs {
            for cell in run.pages.start / pagesPerCell...(run.pages.end - 1) / pagesPerCell {
                let page = cell / columns * columns * pagesPerCell
                if rows.last?.page != page {
                    // The last row ends with the object.
                    let left = (max(pageCount, run.pages.end) - page + pagesPerCell - 1) / pagesPerCell
                    rows.append(Row(page: page, cells: Array(repeating: 0, count: max(cell % columns + 1, min(columns, left)))))
                }
                rows[rows.count - 1].cells[cell % columns] = max(rows[rows.count - 1].cells[cell % columns], run.changes)
            }
        }
        return rows
    }

    /// Pages that changed at least once.
    var changedPages: Int { counts.runs.reduce(0) { $0 + $1.pages.count } }

    /// Pages without a change that lie between a row and the one before it, or the object's beginning.
    func gap(before row: Int) -> Int {
        let end = row == 0 ? 0 : rows[row - 1].page + pagesPerCell * Self.columns
        return rows[row].page - end
    }

    /// What was compared, in a sentence without its full stop.
    var summary: String {
        guard counts.versions.count > 1 else { return "one version is kept: nothing to compare" }
        let versions = "\(counts.versions.count) versions, \(counts.versions[0]) to \(counts.versions[counts.versions.count - 1])"
        return changedPages == 0
            ? "no page changed over \(versions)"
            : "\(changedPages) pages changed, at most \(most) times, over \(versions)"
    }

    /// The name of the object; its number where it has none.
    var name: String { counts.name.isEmpty ? "\(counts.object)" : counts.name }
}

// MARK: In the terminal

extension HeatGrid {
    private static let shades: [Character] = ["░", "▒", "▓", "█"]

    /// The shade of a cell: four, by how often its most often changed page did.
    func shade(_ changes: Int) -> Character {
        changes == 0 ? "·" : Self.shades[min(Self.shades.count - 1, (changes * Self.shades.count - 1) / max(1, most))]
    }

    var text: String {
        var lines = ["\(Printable.text(name)): \(summary)"]
        let width = "\(rows.last?.page ?? 0)".count
        for (index, row) in rows.enumerated() {
            let gap = gap(before: index)
            if gap > 0 { lines.append(String(repeating: " ", count: width) + " ⋮ \(ByteSize.text(gap * Page.size)) unchanged") }
            let label = "\(row.page)"
            lines.append(String(repeating: " ", count: width - label.count) + label + " " + String(row.cells.map(shade)))
        }
        if most > 0 {
            var legend: [String] = ["· none"]
            var from = 1
            for (index, shade) in Self.shades.enumerated() {
                let through = (index + 1) * most / Self.shades.count
                guard through >= from else { continue }
                legend.append("\(shade) \(from == through ? "\(from)" : "\(from)–\(through)")")
                from = through + 1
            }
            let cell = pagesPerCell == 1 ? "a page" : "\(pagesPerCell) pages, the most often changed of them"
            lines.append("A cell is \(cell). Changes: \(legend.joined(separator: "  "))")
        }
        return lines.joined(separator: "\n")
    }
}

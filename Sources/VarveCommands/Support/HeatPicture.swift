internal import Varve

/// Heat grids as one SVG picture.
struct HeatPicture {
    let grids: [HeatGrid]

    private static let cell = 10
    private static let pitch = 11
    private static let left = 90
    private static let margin = 20
    /// From seldom to often: one hue, ever darker.
    private static let ramp: [(red: Int, green: Int, blue: Int)] = [(253, 212, 158), (239, 101, 72), (127, 0, 0)]

    var text: String {
        var body: [String] = []
        var y = Self.margin
        for grid in grids { draw(grid, &y, &body) }
        let width = Self.left + HeatGrid.columns * Self.pitch + Self.margin
        let head = """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(y)" viewBox="0 0 \(width) \(y)" \
            font-family="sans-serif" font-size="11" fill="#333">
            <rect width="\(width)" height="\(y)" fill="#fff"/>
            """
        return ([head] + body + ["</svg>"]).joined(separator: "\n") + "\n"
    }

    private func draw(_ grid: HeatGrid, _ y: inout Int, _ body: inout [String]) {
        body.append("<text x=\"\(Self.margin)\" y=\"\(y + 12)\" font-size=\"14\" font-weight=\"bold\">\(Self.escaped(grid.name))</text>")
        body.append("<text x=\"\(Self.margin)\" y=\"\(y + 30)\">\(Self.escaped(grid.summary)).</text>")
        y += 44
        for (index, row) in grid.rows.enumerated() {
            let gap = grid.gap(before: index)
            if gap > 0 {
                body.append(
                    "<text x=\"\(Self.left)\" y=\"\(y + 10)\" fill=\"#888\">⋮ \(ByteSize.text(gap * Page.size)) unchanged</text>")
                y += 16
            }
            body.append("<text x=\"\(Self.left - 8)\" y=\"\(y + 9)\" text-anchor=\"end\">\(row.page)</text>")
            for (column, changes) in row.cells.enumerated() {
                let first = row.page + column * grid.pagesPerCell
                let pages = grid.pagesPerCell == 1 ? "page \(first)" : "pages \(first)–\(first + grid.pagesPerCell - 1)"
                body.append(
                    """
                    <rect x="\(Self.left + column * Self.pitch)" y="\(y)" width="\(Self.cell)" height="\(Self.cell)" \
                    fill="\(Self.colour(changes, of: grid.most))"><title>\(pages): \(changes)</title></rect>
                    """)
            }
            y += Self.pitch
        }
        if grid.most > 0 { legend(grid, &y, &body) }
        y += Self.margin
    }

    private func legend(_ grid: HeatGrid, _ y: inout Int, _ body: inout [String]) {
        y += 10
        let cell = grid.pagesPerCell == 1 ? "a cell is a page" : "a cell is \(grid.pagesPerCell) pages, the most often changed of them"
        // The numbers of changes that are shown, five at most beside none.
        let steps = min(5, grid.most)
        let shown = [0] + (0..<steps).map { steps == 1 ? grid.most : 1 + $0 * (grid.most - 1) / (steps - 1) }
        var x = Self.left
        for changes in shown {
            body.append(
                "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(Self.cell)\" height=\"\(Self.cell)\" fill=\"\(Self.colour(changes, of: grid.most))\"/>")
            body.append("<text x=\"\(x + 14)\" y=\"\(y + 9)\">\(changes)</text>")
            x += 24 + 8 * "\(changes)".count
        }
        body.append("<text x=\"\(x + 6)\" y=\"\(y + 9)\">changes; \(cell)</text>")
        y += Self.cell
    }

    private static func colour(_ changes: Int, of most: Int) -> String {
        guard changes > 0 else { return "#eee" }
        let place = most == 1 ? 1 : Double(changes - 1) / Double(most - 1) * Double(ramp.count - 1)
        let index = min(ramp.count - 2, Int(place))
        let part = place - Double(index)
        func mix(_ a: Int, _ b: Int) -> Int { a + Int((Double(b - a) * part).rounded()) }
        let (a, b) = (ramp[index], ramp[index + 1])
        return "rgb(\(mix(a.red, b.red)),\(mix(a.green, b.green)),\(mix(a.blue, b.blue)))"
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in Printable.text(text) {
            switch character {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            default: result.append(character)
            }
        }
        return result
    }
}

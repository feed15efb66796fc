import Foundation

/// A chart of lines as SVG: small multiples side by side, one legend, ends of lines named where there is room.
struct LineChart {
    struct Line {
        var name: String
        var points: [(x: Double, y: Double)]
        /// Drawn thick, over the others.
        var isOurs = false
        var isDashed = false
    }

    struct Panel {
        var title = ""
        var lines: [Line]
    }

    struct Tick {
        var at: Double
        var text: String
    }

    var title: String
    var xTitle: String
    var yTitle: String
    var isLogX = false
    var isLogY = false
    var xTicks: [Tick]
    var panels: [Panel]

    private static let width = 860.0, height = 400.0
    private static let top = 64.0, bottom = 56.0, left = 66.0, right = 16.0, gap = 34.0, legend = 132.0
    /// Told apart by people who see colours differently, too; ours are the first two.
    private static let ours = ["#c2410c", "#f59e0b"]
    private static let others = ["#1d4ed8", "#0891b2", "#15803d", "#7c3aed", "#be185d", "#525252", "#0f766e", "#a16207"]

    func svg() -> String {
        let names = panels.flatMap(\.lines).reduce(into: [Line]()) { all, line in
            if !all.contains(where: { $0.name == line.name }) { all.append(line) }
        }
        var colours: [String: String] = [:]
        for line in names where line.isOurs { colours[line.name] = Self.ours[colours.count % Self.ours.count] }
        let taken = colours.count
        for line in names where !line.isOurs { colours[line.name] = Self.others[(colours.count - taken) % Self.others.count] }

        let all = panels.flatMap(\.lines).flatMap(\.points)
        let x = Scale(all.map(\.x) + xTicks.map(\.at), isLog: isLogX, isSnug: true)
        let y = Scale(all.map(\.y), isLog: isLogY, isSnug: false)
        let count = Double(max(panels.count, 1))
        let each = (Self.width - Self.left - Self.right - Self.legend - Self.gap * (count - 1)) / count
        let low = Self.height - Self.bottom

        var body = ""
        for (index, panel) in panels.enumerated() {
            let start = Self.left + Double(index) * (each + Self.gap)
            func place(_ point: (x: Double, y: Double)) -> (x: Double, y: Double) {
                (start + x.position(point.x) * each, low - y.position(point.y) * (low - Self.top))
            }
            for tick in y.ticks() {
                let at = place((x.low, tick)).y
                body += #"<line class="grid" x1="\#(f(start))" x2="\#(f(start + each))" y1="\#(f(at))" y2="\#(f(at))"/>"#
                if index == 0 { body += #"<text class="tick" text-anchor="end" x="\#(f(start - 6))" y="\#(f(at + 4))">\#(Self.short(tick))</text>"# }
            }
            for tick in xTicks {
                let at = place((tick.at, y.low)).x
                body += #"<line class="grid" x1="\#(f(at))" x2="\#(f(at))" y1="\#(f(Self.top))" y2="\#(f(low))"/>"#
                body += #"<text class="tick" text-anchor="middle" x="\#(f(at))" y="\#(f(low + 16))">\#(escaped(tick.text))</text>"#
            }
            body += #"<text class="panel" x="\#(f(start))" y="\#(f(Self.top - 8))">\#(escaped(panel.title))</text>"#
            for line in panel.lines.sorted(by: { !$0.isOurs && $1.isOurs }) {
                let points = line.points.map(place), colour = colours[line.name] ?? "#000"
                let path = points.map { "\(f($0.x)),\(f($0.y))" }.joined(separator: " ")
                let dash = line.isDashed ? #" stroke-dasharray="5 4""# : ""
                body += #"<polyline fill="none" stroke="\#(colour)" stroke-width="\#(line.isOurs ? 3 : 1.6)"\#(dash) points="\#(path)"/>"#
                guard points.count <= 12 else { continue }
                for point in points { body += #"<circle fill="\#(colour)" cx="\#(f(point.x))" cy="\#(f(point.y))" r="\#(line.isOurs ? 3.5 : 2.5)"/>"# }
            }
        }
        let legendStart = Self.width - Self.right - Self.legend + 18
        for (index, line) in names.enumerated() {
            let at = Self.top + 8 + Double(index) * 20
            let dash = line.isDashed ? #" stroke-dasharray="5 4""# : ""
            body += #"<line stroke="\#(colours[line.name] ?? "#000")" stroke-width="\#(line.isOurs ? 3 : 1.6)"\#(dash) x1="\#(f(legendStart))" x2="\#(f(legendStart + 22))" y1="\#(f(at))" y2="\#(f(at))"/>"#
            body += #"<text class="name" x="\#(f(legendStart + 28))" y="\#(f(at + 4))">\#(escaped(line.name))</text>"#
        }
        let middle = (Self.left + Self.width - Self.right - Self.legend) / 2
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(f(Self.width)) \(f(Self.height))" font-family="sans-serif">
            <style>.grid{stroke:#e5e5e5}.tick{font-size:11px;fill:#525252}.panel{font-size:12px;fill:#262626}\
            .name{font-size:12px;fill:#262626}.axis{font-size:12px;fill:#262626}.title{font-size:15px;font-weight:bold;fill:#171717}</style>
            <rect width="100%" height="100%" fill="#ffffff"/>
            <text class="title" x="\(f(Self.left))" y="26">\(escaped(title))</text>
            <text class="axis" text-anchor="middle" x="\(f(middle))" y="\(f(Self.height - 14))">\(escaped(xTitle))</text>
            <text class="axis" text-anchor="middle" transform="rotate(-90)" x="\(f(-(Self.top + low) / 2))" y="16">\(escaped(yTitle))</text>
            \(body)
            </svg>

            """
    }

    private func f(_ value: Double) -> String { String(format: "%.1f", value) }

    private func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
    }

    private static func short(_ value: Double) -> String {
        switch value {
        case 1e6...: String(format: "%g M", value / 1e6)
        case 1e3...: String(format: "%g k", value / 1e3)
        default: String(format: "%g", value)
        }
    }
}

/// Where values lie between the ends of an axis.
private struct Scale {
    let low: Double, high: Double
    let isLog: Bool

    /// - Parameter isSnug: The axis begins and ends with the values; else at powers of ten, or at 0.
    init(_ values: [Double], isLog: Bool, isSnug: Bool) {
        let known = values.filter { $0.isFinite && (!isLog || $0 > 0) }
        let least = known.min() ?? 1, most = known.max() ?? 10
        self.isLog = isLog
        switch (isLog, isSnug) {
        case (true, false):
            low = pow(10, log10(least).rounded(.down))
            high = pow(10, log10(most).rounded(.up))
        case (false, false):
            low = 0
            high = most * 1.05
        default:
            low = least
            high = most > least ? most : least + 1
        }
    }

    func position(_ value: Double) -> Double {
        isLog ? (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low)) : (value - low) / (high - low)
    }

    func ticks() -> [Double] {
        if isLog { return (Int(log10(low).rounded())...Int(log10(high).rounded())).map { pow(10, Double($0)) } }
        let raw = (high - low) / 5, power = pow(10, log10(raw).rounded(.down))
        let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= raw } ?? raw
        return Array(stride(from: (low / step).rounded(.up) * step, through: high, by: step))
    }
}

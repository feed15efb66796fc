internal import CrashLab
internal import Varve

/// What the layers of one run found, as text, JSON or a page.
struct CrashlabReport {
    let adapter: String
    let seed: UInt64
    let layers: [LayerReport]

    // MARK: Text

    var text: String {
        var lines: [String] = []
        for layer in layers {
            lines += layer.failures.map { "VIOLATION \($0)" }
            lines.append(Self.text(layer, adapter, seed))
        }
        if let failure = layers.lazy.flatMap(\.failures).first {
            lines.append("`varve crashlab reproduce \(Printable.text(failure.folder))` shows the first again.")
        }
        return lines.joined(separator: "\n")
    }

    private static func text(_ layer: LayerReport, _ adapter: String, _ seed: UInt64) -> String {
        if let reason = layer.skipped { return "\(layer.layer): skipped: \(reason)" }
        let counts = layer.counts.map { ", \($0.value) \($0.name)" }.joined()
        var lines = [
            "\(layer.layer) on \(adapter): \(layer.states) states, \(layer.acknowledgements) acknowledgements\(counts), "
                + "\(layer.failures.count) violations; seed \(seed), \(Times.duration(layer.seconds)), \(rates(layer))."
        ]
        lines += layer.notes.prefix(mostNotes).map { "  \($0)" }
        if layer.notes.count > mostNotes { lines.append("  and \(layer.notes.count - mostNotes) more; --json has all") }
        if let control = layer.control {
            lines.append(
                control.isNoticed
                    ? "  Control: \(control.what): a violation among \(control.states) states."
                    : "  CONTROL FAILED: \(control.what): \(control.states) states showed nothing wrong.")
        }
        return lines.joined(separator: "\n")
    }

    private static let mostNotes = 12

    private static func rate(_ count: Int, _ seconds: Double) -> Int { seconds > 0 ? Int(Double(count) / seconds) : 0 }

    private static func rates(_ layer: LayerReport) -> String {
        let kills = layer.counts.first { $0.name == "kills" }.map { ", \(rate($0.value, layer.seconds)) kills" } ?? ""
        return "\(rate(layer.states, layer.seconds)) states\(kills) a second"
    }

    // MARK: JSON

    /// Of one layer its own members; of several an array of them.
    var json: JSON {
        if layers.count == 1 { return json(layers[0]) }
        return .object([("adapter", .string(adapter)), ("seed", .unsigned(seed)), ("layers", .array(layers.map(json)))])
    }

    private func json(_ layer: LayerReport) -> JSON {
        let failures = layer.failures.map { failure in
            JSON.object([
                ("seed", .unsigned(failure.seed)), ("moment", .string(failure.moment)), ("image", .string(failure.image)),
                ("finding", .string(failure.finding)), ("folder", .string(failure.folder)),
            ])
        }
        var members: [(String, JSON)] = [
            ("layer", .string(layer.layer)), ("adapter", .string(adapter)), ("seed", .unsigned(seed)),
            ("skipped", .optional(layer.skipped)), ("states", .integer(layer.states)), ("acknowledgements", .integer(layer.acknowledgements)),
            ("counts", .object(layer.counts.map { ($0.name, .integer($0.value)) })), ("seconds", .seconds(layer.seconds)),
            ("violations", .array(failures)), ("notes", .array(layer.notes.map { .string($0) })),
        ]
        if let control = layer.control {
            members.append(
                ("control", .object([("what", .string(control.what)), ("states", .integer(control.states)), ("noticed", .bool(control.isNoticed))])))
        }
        return .object(members)
    }

    // MARK: A page

    var page: String {
        let rows = layers.map { layer -> String in
            let state = layer.skipped != nil ? "skipped" : layer.isClean ? "clean" : "violated"
            let control = layer.control.map { "\(Self.escaped($0.what)): \($0.isNoticed ? "noticed" : "NOT NOTICED")" } ?? ""
            let word = layer.skipped.map { "skipped: \(Self.escaped($0))" } ?? (layer.failures.isEmpty ? "none" : "\(layer.failures.count)")
            let counts = layer.counts.map { "<span>\(Self.escaped($0.name)) <b>\($0.value)</b></span>" }.joined(separator: " ")
            return """
                <tr class="\(state)"><th>\(layer.layer)</th><td>\(layer.states)</td><td>\(layer.acknowledgements)</td>\
                <td class="word">\(word)</td><td>\(Times.duration(layer.seconds))</td><td>\(Self.rate(layer.states, layer.seconds))</td>\
                <td class="word">\(control)</td></tr>
                \(counts.isEmpty ? "" : "<tr class=\"counts\"><td></td><td colspan=6>\(counts)</td></tr>")
                """
        }
        let details = layers.map { layer -> String in
            let failures = layer.failures.map {
                "<li><code>\(Self.escaped($0.finding))</code><br>\(Self.escaped($0.moment)); \(Self.escaped($0.image))<br><code>varve crashlab reproduce \(Self.escaped($0.folder))</code></li>"
            }
            let notes = layer.notes.map { "<li>\(Self.escaped($0))</li>" }
            guard !failures.isEmpty || !notes.isEmpty else { return "" }
            return "<h2>\(layer.layer)</h2>" + (failures.isEmpty ? "" : "<ul class=violations>\(failures.joined())</ul>")
                + (notes.isEmpty ? "" : "<details><summary>\(notes.count) notes</summary><ul>\(notes.joined())</ul></details>")
        }
        return """
            <!doctype html><html lang=en><meta charset=utf-8><title>Crash lab: \(Self.escaped(adapter))</title>
            <style>\(Self.style)</style>
            <h1>Crash lab: \(Self.escaped(adapter))</h1><p>Seed \(seed). What each layer does, and what it does not see: docs/CRASHLAB.md.</p>
            <table><thead><tr><th>Layer<th>States<th>Acknowledged<th>Violations<th>Time<th>States a second<th>Control</thead>
            \(rows.joined(separator: "\n"))
            </table>
            \(details.joined(separator: "\n"))
            </html>

            """
    }

    private static let style = """
        body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222;background:#fff}
        table{border-collapse:collapse;width:100%}th,td{padding:.4em .7em;text-align:right;vertical-align:top}
        th:first-child,.word,.counts td,thead th:nth-child(4),thead th:nth-child(7){text-align:left}thead th{border-bottom:2px solid #222;font-weight:600}
        tbody tr:not(.counts){border-top:1px solid #ccc}.clean th{border-left:.4em solid #2a7d4f}.violated th{border-left:.4em solid #b3261e}
        .skipped th{border-left:.4em solid #999}.violated td:nth-child(4){color:#b3261e;font-weight:600}.counts span{display:inline-block;margin-right:1.2em;color:#555}
        .counts b{color:#222}code{background:#f2f2f2;padding:0 .2em}li{margin:.4em 0}.violations code:first-child{background:#fbe9e7}
        """

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing("\"", with: "&quot;")
    }
}

/*
 * Exports the annotations of the open image for slideloom. QuPath 0.2 and later.
 *
 * Run it from the script editor, or for a whole project with "Run > Run for project".
 * It writes <project>/rois/<image>.csv (without a project: beside the image), one row per vertex:
 * in level-0 pixels of the whole slide, with class, description, parts and holes.
 */
import qupath.lib.common.GeneralTools
import org.locationtech.jts.geom.Polygon

def server = getCurrentServer()
if (server == null) {
    println 'No image is open.'
    return
}
def image = GeneralTools.getNameWithoutExtension(server.getMetadata().getName())

// QuPath crops some formats to the scanned area (the bounds); slideloom counts from the whole slide.
def bound = { String name ->
    try {
        return (server."$name" ?: 0) as double
    } catch (MissingPropertyException | MissingMethodException e) {
        return 0.0d
    }
}
double left = bound('boundsX')
double top = bound('boundsY')

def folder
if (getProject() != null) {
    folder = new File(buildFilePath(PROJECT_BASE_DIR, 'rois'))
} else {
    folder = new File(server.getURIs().iterator().next()).getParentFile()
}
folder.mkdirs()
// A spreadsheet takes text that begins so for a formula. An apostrophe makes it text; slideloom takes it off again.
def guarded = { String text ->
    boolean isNumber = text ==~ /[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
    return text ==~ /(?s)'*[=+\-@\t\r].*/ && !isNumber ? "'" + text : text
}
def quoted = { value -> value == null ? '' : '"' + guarded(value.toString()).replace('"', '""') + '"' }

def used = new HashSet<String>()
int skipped = 0
def file = new File(folder, image + '.csv')
file.withWriter('UTF-8') { out ->
    out.write('ROI_Name,X_base,Y_base,label,description,region,part,ring\n')
    getAnnotationObjects().eachWithIndex { annotation, number ->
        def roi = annotation.getROI()
        if (roi == null || !roi.isArea()) {
            skipped++
            return
        }
        String base = annotation.getName() ?: 'ROI_' + number
        String name = base
        for (int i = 2; !used.add(name); i++) {
            name = base + ' (' + i + ')'
        }
        def pathClass = annotation.getPathClass()
        String tail = ',' + quoted(pathClass == null ? null : pathClass.toString()) + ',' +
                quoted(annotation.getDescription()) + ',' + quoted(name) + ','
        def geometry = roi.getGeometry()
        int part = 0
        for (int i = 0; i < geometry.getNumGeometries(); i++) {
            def polygon = geometry.getGeometryN(i)
            if (!(polygon instanceof Polygon)) {
                continue
            }
            for (int ring = 0; ring <= polygon.getNumInteriorRing(); ring++) {
                def line = ring == 0 ? polygon.getExteriorRing() : polygon.getInteriorRingN(ring - 1)
                String ringName = name
                if (part > 0 || ring > 0) {
                    ringName += '_part' + part + (ring > 0 ? '_hole' + ring : '')
                }
                def points = line.getCoordinates()
                // The last point is the first again.
                for (int p = 0; p < points.length - 1; p++) {
                    out.write(quoted(ringName) + ',' + (points[p].x + left) + ',' + (points[p].y + top) +
                            tail + part + ',' + ring + '\n')
                }
            }
            part++
        }
    }
}
println 'Wrote ' + file + (left != 0 || top != 0 ? ' (moved by ' + left + ', ' + top + ')' : '') +
        (skipped > 0 ? '; ' + skipped + ' lines or points left out' : '')

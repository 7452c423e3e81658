// The slide's pixels: tiles of the server's pyramid as a layer of the map.

import TileLayer from "ol/layer/Tile.js";
import TileImage from "ol/source/TileImage.js";
import TileGrid from "ol/tilegrid/TileGrid.js";

import { api } from "../base/api.js";
import { showPicture } from "../base/pictures.js";

/** The grid of the pyramid's tiles. The server pads edge tiles to full size, so every tile covers a whole cell. */
function gridOf({ tile, width, height, zooms }) {
  return new TileGrid({
    origin: [0, 0],
    extent: [0, -height, width, 0],
    resolutions: zooms.map(({ downsample }) => downsample),
    sizes: zooms.map(({ columns, rows }) => [columns, rows]),
    tileSize: tile,
  });
}

async function load(img, path, onError) {
  try {
    await showPicture(img, api.pyramidPicture(path));
  } catch (error) {
    img.dispatchEvent(new Event("error")); // by which the map learns that the tile is not there
    onError(error);
  }
}

/**
 * A layer of the slide's tiles, as read (`normalized` null) or normalized by the decisions that `normalized` names.
 *
 * `onError` is told why a tile does not come.
 *
 * The layer's extent cuts off the white of padded tiles. Tiles do not fade in: a fade redraws the map for a quarter
 * of a second per tile.
 */
export function pyramidLayer(id, pyramid, projection, { normalized = null, onError, ...options }) {
  const source = new TileImage({
    projection,
    tileGrid: gridOf(pyramid),
    tileUrlFunction: (coordinate) => api.pyramidTile(id, coordinate, normalized),
    tileLoadFunction: (tile, path) => load(tile.getImage(), path, onError),
    // On fine screens the finer of two levels: one pixel of the picture for one of the screen.
    zDirection: window.devicePixelRatio > 1 ? -1 : 0,
    transition: 0,
    wrapX: false,
  });
  return new TileLayer({ source, extent: [0, -pyramid.height, pyramid.width, 0], preload: 1, ...options });
}

"""Where does it touch the world? Each adapter stands alone and implements ports."""
